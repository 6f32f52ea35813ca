package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"nibble/model/source"
)

// The names of a checkpoint's weights.
const (
	weightsName = "model.safetensors"
	indexName   = "model.safetensors.index.json"
)

// openTensors maps the weights: the single file if there is one, as transformers
// does, whatever index was left beside it, or every shard that the index names.
func (c *Checkpoint) openTensors() error {
	err := c.openShard(weightsName)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := c.files.read(indexName)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.files.path(weightsName), ErrNoWeights)
	} else if err != nil {
		return err
	}
	index, err := parseIndex(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.files.path(indexName), err)
	}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(index))) {
		err := c.openShard(shard)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w, though the index names it: the download is incomplete", c.files.path(shard), ErrNotFound)
		} else if err != nil {
			return err
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(index)) {
		if _, ok := c.tensors[tensor]; !ok {
			return fmt.Errorf("%s: %w: it says that %s holds tensor %s, which no file does: the index belongs to other weights",
				c.files.path(indexName), ErrCorrupt, source.Quote(index[tensor]), source.Quote(tensor))
		}
	}
	return nil
}

// openShard adds the tensors of a weights file. One that does not exist is
// fs.ErrNotExist.
func (c *Checkpoint) openShard(name string) error {
	data, err := c.files.mapped(name)
	if err != nil {
		return err
	}
	if err := parseSafetensors(data, c.tensors); err != nil {
		return fmt.Errorf("%s: %w", c.files.path(name), err)
	}
	return nil
}

// parseIndex returns the file of every tensor.
func parseIndex(data []byte) (map[string]string, error) {
	var raw struct {
		WeightMap json.RawMessage `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	tensors, shards, err := orderedObject(raw.WeightMap) // decoding into a map would hide duplicates
	if err != nil {
		return nil, fmt.Errorf("%w: weight_map: %v", ErrCorrupt, err)
	}
	index := make(map[string]string, len(tensors))
	for i, tensor := range tensors {
		var shard string
		if err := json.Unmarshal(shards[i], &shard); err != nil {
			return nil, fmt.Errorf("%w: weight_map: tensor %s: %v", ErrCorrupt, source.Quote(tensor), err)
		}
		if shard == "" {
			return nil, fmt.Errorf("%w: weight_map: tensor %s is in no file", ErrCorrupt, source.Quote(tensor))
		}
		if before, twice := index[tensor]; twice && before != shard {
			return nil, fmt.Errorf("%w: tensor %s is said to be in %s and in %s", ErrCorrupt, source.Quote(tensor), source.Quote(before), source.Quote(shard))
		}
		index[tensor] = shard
	}
	if len(index) == 0 {
		return nil, fmt.Errorf("%w: no weight_map", ErrCorrupt)
	}
	return index, nil
}
