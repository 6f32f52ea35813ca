#!/usr/bin/env python3
"""Makes vectors.json.gz: what the tokenizers library does with regular expressions,
tokenizers and texts made up at random, and SentencePiece and tiktoken with models
trained on such texts.

    pip install tokenizers==0.22.2 sentencepiece==0.2.3 tiktoken==0.14.0 protobuf
    python vectors.py [--seed N] [--regex N] [--tokenizers N] FILE

The committed file is made with the defaults. A longer proof: make a file with many
more and another seed, and run
    NIBBLE_VECTORS=FILE go test ./model/tokenizer -run TestVectors
"""
import argparse
import base64
import gzip
import io
import json
import os
import random
import tempfile

import sentencepiece
import sentencepiece.sentencepiece_model_pb2 as pb
import tiktoken
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

rng = random.Random()
one = rng.choice


def likely(p):
    return rng.random() < p


def several(make, low, high):
    return [make() for _ in range(rng.randint(low, high))]


# Regular expressions

LETTERS = list("abABksSK019 _-.,!?'\n\r") + list("ßſéİKﬁ日ーあ한²½\u0301\u200d\u00a0\u2028٣ǅΣςẞ🙂ⅷⒶŉΐ")
SHORT = ["\\w", "\\W", "\\d", "\\D", "\\s", "\\S", "\\h", "\\H"]
PROPERTIES = ("L Lu Ll Lm Lo M Mn N Nd No P Pc Pd S Z C Han Hiragana Latin Alpha Alnum Upper Lower Punct Space Word Letter "
              "Uppercase_Letter Hangul White_Space han Graph Print XDigit ASCII Any Cntrl").split()
BRACKETS = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()
QUANTIFIERS = "* + ? *? +? ?? *+ ++ ?+ {2} {1,2} {,2} {1,} {1,2}? {2}? {1,3}+ {2,1}".split()


def letter():
    c = one(LETTERS)
    if c in ".?-":
        return "\\" + c
    if likely(0.05):
        return "\\x{%x}" % ord(c)
    if likely(0.03) and ord(c) < 0x10000:
        return "\\u%04x" % ord(c)
    return c


def prop():
    return one(["\\p{%s}", "\\P{%s}", "\\p{^%s}"]) % one(PROPERTIES)


def class_item(depth):
    kind = rng.randint(0, 6)
    if kind == 0:
        return "-".join(sorted([one("abcks01"), one("abcks019é日")]))
    if kind == 1:
        return one(SHORT)
    if kind == 2:
        return prop()
    if kind == 3:
        return "[:%s%s:]" % (one(["", "", "^"]), one(BRACKETS))
    if kind == 4 and depth > 0:
        return char_class(depth - 1)
    return letter()


def char_class(depth=1):
    sides = ["".join(several(lambda: class_item(depth), 1, 3))]
    while likely(0.2):
        sides.append(class_item(depth))
    return "[" + one(["", "", "^"]) + "&&".join(sides) + one(["", "", "", "", "-"]) + "]"


def atom(depth):
    kind = rng.randint(0, 9)
    if kind < 4:
        return "".join(several(letter, 1, 2))
    if kind == 4:
        return one(SHORT + [prop()])
    if kind < 7:
        return char_class()
    if kind == 7:
        return one([".", "\\R", "\\X", "\\N", "\\O"])
    if depth == 0:
        return letter()
    group = one(["(%s)", "(?:%s)", "(?i:%s)", "(?i:%s)", "(?m:%s)", "(?>%s)", "(?x: %s )", "(?i-m:%s)", "(?<n>%s)"])
    return group % alternatives(depth - 1)


def piece(depth):
    if likely(0.06):
        return one(["^", "$", "\\A", "\\z", "\\Z", "\\b", "\\B"])
    if likely(0.06):
        return one(["(?=", "(?!", "(?<=", "(?<!"]) + char_class() + ")"
    return atom(depth) + (one(QUANTIFIERS) if likely(0.4) else "")


def alternatives(depth):
    return "|".join("".join(several(lambda: piece(depth), 1, 3)) for _ in range(one([1, 1, 2, 3])))


def regex_text():
    return "".join(several(lambda: one(LETTERS + list("ssab") + ["ss", "ST", "st", "fi", "i\u0307", "\r\n"]), 1, 12))


def regex_case():
    """An expression; texts with what the text is once matches are replaced, and the matches."""
    expression = one(["", "", "", "", "", "(?i)"]) + alternatives(1)
    try:
        replace = normalizers.Replace(Regex(expression), "⟦⟧")
        keep = pre_tokenizers.Split(Regex(expression), "removed", invert=True)
    except Exception:
        return None
    cases = []
    for text in several(regex_text, 3, 3):
        try:
            cases.append([text, replace.normalize_str(text), [word for word, _ in keep.pre_tokenize_str(text)]])
        except BaseException:  # the library gives up some by a panic
            pass
    return {"expression": expression, "cases": cases}


# Tokenizers

# What SentencePiece's table of characters is made of.
RULES = {"ﬁ": "fi", "①": "1", "Ａ": "A", "A\u0301": "\u00c1", "e\u0301": "\u00e9", "e\u0301\u0302": "\u1ebf", "\t": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "\u200b": "", "²": "2",
         "½": "1\u20442", "\u30ab\u3099": "\u30ac", "\ufdfa": "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647", "İ": "i\u0307", "...": "…"}


def train(texts, **options):
    """A SentencePiece model; rules is its table of characters."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = options.pop("rules", None)
        if rules:
            options["normalization_rule_tsv"] = os.path.join(folder, "rules.tsv")
            with open(options["normalization_rule_tsv"], "w") as f:
                for key, value in rules.items():
                    f.write(" ".join("%X" % ord(c) for c in key) + "\t" + " ".join("%X" % ord(c) for c in value) + "\n")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=out, hard_vocab_limit=False, minloglevel=4, **options)
    return pb.ModelProto.FromString(out.getvalue())


CHARSMAP = base64.b64encode(train(["a cat sat on a mat"] * 9, vocab_size=20, model_type="unigram", rules=RULES).normalizer_spec.precompiled_charsmap).decode()

CHARS = list("abcAB<>s/019 _-.!'\n") + list("éİﬁ日ア²\u0301\u00a0🙂▁Ġ")
WORDS = ["<a>", "<ab>", "ab", "<s>", "</s>", "tok", "  ", "Ab", "the", "don't", "\r\n", "I'll", "1234", "e\u0301", "日本"]
SPLITS = ["\\s+", "[[:alpha:]]+", "\\p{N}{1,3}", " ?[^(\\s|[.,!?])]+", "\\d(?=(?:\\d{3})+(?!\\d))", "a|b", "[一-龥]+",
          "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def text():
    return "".join(several(lambda: one(CHARS + WORDS * 2 + [" ", "a"]), 1, 12))


def spelled(s):
    bytes_ = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in bytes_]
    return "".join(chr(b if b in bytes_ else 256 + others.index(b)) for b in s.encode())


def unigram():
    pieces = {"<unk>": 0.0}
    for c in CHARS + ["▁"] * 3:
        if likely(0.85):
            pieces.setdefault(c, -rng.random() * 8)
    for _ in range(rng.randint(0, 60)):
        w = text()[:rng.randint(2, 6)]
        pieces.setdefault(w.replace(" ", "▁") if likely(0.7) else w, -rng.random() * 10)
    fallback = likely(0.4)
    if fallback:
        for b in sorted({b for c in CHARS + WORDS for b in c.encode() if likely(0.97)}):
            pieces.setdefault("<0x%02X>" % b, -10.0)
    return {"type": "Unigram", "unk_id": 0, "vocab": [list(p) for p in pieces.items()], "byte_fallback": fallback}


def word_piece():
    prefix = one(["##", "##", "##", "@", ""])
    vocab = ["[UNK]"] + sorted({c for c in CHARS + list("".join(WORDS)) if likely(0.9)})
    vocab += [prefix + c for c in vocab[1:] if likely(0.9)]
    vocab += [one(["", prefix]) + text().replace(" ", "")[:rng.randint(1, 5)] for _ in range(80)]
    vocab = [t for t in dict.fromkeys(vocab) if t]
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix, "max_input_chars_per_word": one([100, 100, 5]), "vocab": {t: i for i, t in enumerate(vocab)}}


def word_level():
    vocab = dict.fromkeys(["<unk>"] + WORDS + CHARS + [w for _ in range(40) for w in text().split(" ") if w])
    return {"type": "WordLevel", "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(vocab)}}


def model():
    return one([bpe, bpe, bpe, unigram, unigram, word_piece, word_level])()


def bpe():
    byte_level, vocab, merges = likely(0.4), [], []
    prefix, suffix = one(["", "", "", "@@"]), one(["", "", "", "</w>"])
    chars = sorted({c for c in CHARS + list("".join(WORDS)) if likely(0.8)})
    if byte_level:
        chars = sorted(set(spelled("".join(chars))))
    vocab += chars + [p for p in ["▁", "<unk>"] if likely(0.6) and p not in chars]
    vocab += [prefix + c + s for c in chars for s in {"", suffix} if prefix + s]
    vocab += sorted({"<0x%02X>" % b for c in CHARS for b in c.encode() if likely(0.9)}) if likely(0.6) else []
    vocab = list(dict.fromkeys(vocab))
    parts = [t for t in vocab if not t.startswith(("<0", "<u")) and t[len(prefix):len(prefix) + 1] in set("abstho▁Ġ <")]
    for _ in range(rng.randint(0, 15) if parts else 0):
        left, right = one(parts), one(parts)
        merged = left + right[len(prefix):]
        if right.startswith(prefix) and len(merged) < 12:
            merges.append([left, right])
            parts.append(merged)
            vocab += [merged] if merged not in vocab else []
    spaces = any(" " in left + right for left, right in merges)
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>" if "<unk>" in vocab and likely(0.7) else None,
            "continuing_subword_prefix": prefix or None, "end_of_word_suffix": suffix or None, "fuse_unk": likely(0.5), "byte_fallback": likely(0.6),
            "ignore_merges": likely(0.3), "vocab": {t: i for i, t in enumerate(vocab)}, "merges": merges if spaces or likely(0.5) else [" ".join(m) for m in merges]}


def added_tokens(vocab):
    ids, tokens = {p[0]: i for i, p in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab), []
    for content in several(lambda: one(["<a>", "<ab>", "<a>b", "ab", "a b", " ", "  ", "▁", "é", "ﬁ", "a", "\n", "tok", "Ab", "<s>", "</s>", "<unk>", " <s>", "▁a", "日本"]), 0, 6):
        ids.setdefault(content, len(ids))
        tokens.append({"id": ids[content], "content": content, "single_word": likely(0.25), "lstrip": likely(0.25), "rstrip": likely(0.25), "normalized": likely(0.5), "special": likely(0.4)})
    return tokens


def pattern():
    return {"String": one([" ", "a", "▁", "ab", "  ", "\n"])} if likely(0.5) else {"Regex": one(SPLITS)}


def normalizer(nested=True):
    kind = rng.randint(0, 9)
    if kind == 0 and nested:
        return {"type": "Sequence", "normalizers": several(lambda: normalizer(False), 1, 3)}
    if kind == 1:
        return {"type": one(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"])}
    if kind == 2:
        return {"type": "Strip", "strip_left": likely(0.6), "strip_right": likely(0.6)}
    if kind == 9:
        return {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}
    if kind == 3:
        return {"type": "BertNormalizer", "clean_text": likely(0.5), "handle_chinese_chars": likely(0.5), "strip_accents": one([None, True, False]), "lowercase": likely(0.5)}
    if kind < 6:
        return {"type": "Prepend", "prepend": one(["▁", " ", "ab"])}
    return {"type": "Replace", "pattern": pattern(), "content": one(["▁", " ", "", "b", "--"])}


def pre_tokenizer(nested=True):
    kind = rng.randint(0, 9)
    if kind < 2 and nested:
        return {"type": "Sequence", "pretokenizers": several(lambda: pre_tokenizer(False), 1, 3)}
    if kind == 2:
        return {"type": "ByteLevel", "add_prefix_space": likely(0.5), "trim_offsets": True, "use_regex": likely(0.6)}
    if kind == 3:
        return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": one(["always", "first", "never"]), "split": likely(0.6)}
    if kind == 4:
        return {"type": "Digits", "individual_digits": likely(0.5)}
    if kind == 5:
        return {"type": "Punctuation", "behavior": one(BEHAVIORS)}
    if kind == 6:
        return one([{"type": "UnicodeScripts"}, {"type": "FixedLength", "length": rng.randint(1, 4)}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"}, {"type": "CharDelimiterSplit", "delimiter": one(["a", " ", "▁"])}])
    return {"type": "Split", "pattern": pattern(), "behavior": one(BEHAVIORS), "invert": likely(0.4)}


def decoder():
    def strip(start, stop):
        return {"type": "Strip", "content": " ", "start": start, "stop": stop}
    space = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": one(["always", "first", "never"]), "split": True}
    fallback, fuse = {"type": "ByteFallback"}, {"type": "Fuse"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    chain = one([[space, fallback, fuse, strip(1, 0)], [space, fallback, fuse], [fallback, meta], [space, strip(1, 1), fallback], [fuse, space, strip(2, 0)]])
    pieces = {"type": "WordPiece", "prefix": one(["##", "##", "@"]), "cleanup": likely(0.6)}
    return one([None, byte_level, byte_level, byte_level, pieces, pieces, meta, {"type": "BPEDecoder", "suffix": "</w>"}, fallback, {"type": "Sequence", "decoders": chain}, {"type": "Sequence", "decoders": chain}])


def post_processor(vocab, tokens):
    known = [(p, i) for i, p in enumerate(p[0] for p in vocab)] if isinstance(vocab, list) else list(vocab.items())
    known += [(t["content"], t["id"]) for t in tokens] * 20
    first, last = one(known), one(known)
    if likely(0.2):
        return {"type": one(["BertProcessing", "RobertaProcessing"]), "sep": list(last), "cls": list(first), "trim_offsets": True, "add_prefix_space": True}

    def special(t):
        return {"SpecialToken": {"id": t[0], "type_id": 0}}
    sequence = [{"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "TemplateProcessing", "single": [special(first)] * likely(0.7) + sequence + [special(last)] * likely(0.6), "pair": sequence + [{"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {t[0]: {"id": t[0], "ids": [t[1]], "tokens": [t[0]]} for t in (first, last)}}
    return one([None, template, {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template]}])


def tokenizer_case():
    """A tokenizer; texts with their ids, those of a whole text, those when special tokens
    are text, the decoded text; ids at random and what they decode to."""
    m = model()
    tokens = added_tokens(m["vocab"])
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer() if likely(0.6) else None,
            "pre_tokenizer": pre_tokenizer() if likely(0.8) else None, "post_processor": post_processor(m["vocab"], tokens), "decoder": decoder(), "model": m}
    try:
        t = Tokenizer.from_str(json.dumps(file))
    except BaseException:
        return None
    cases = []
    for s in several(text, 4, 4):
        ids = several(lambda: rng.randrange(t.get_vocab_size()), 1, 5)
        try:
            t.encode_special_tokens = True
            plain = t.encode(s, add_special_tokens=False).ids
            t.encode_special_tokens = False
            encoded = t.encode(s, add_special_tokens=False).ids
            cases.append({"text": s, "ids": encoded, "whole": t.encode(s).ids, "plain": plain, "decoded": t.decode(encoded), "random": ids, "random_decoded": t.decode(ids)})
        except BaseException:
            pass
    return {"tokenizer": file, "cases": cases}


# SentencePiece and tiktoken


def sentence_piece_case():
    """A tokenizer.model; texts with their ids and the decoded text; ids at random and what
    they decode to."""
    kind = one(["bpe", "unigram"])
    options = {"vocab_size": rng.randint(80, 300), "model_type": kind, "byte_fallback": likely(0.5), "add_dummy_prefix": likely(0.7), "remove_extra_whitespaces": likely(0.5),
               "split_by_whitespace": likely(0.7), "allow_whitespace_only_pieces": likely(0.5), "split_digits": likely(0.5), "character_coverage": 0.98, "max_sentencepiece_length": 8}
    if likely(0.5):
        options["rules"] = RULES
    else:
        options["normalization_rule_name"] = "identity"
    if likely(0.5):
        options["user_defined_symbols"] = [w for w in ["<user>", "ab", "don't", "\u2581\u2581", "é", "the"] if likely(0.5)]
    if likely(0.4):
        options["control_symbols"] = ["<s1>", "<a>"]
    try:
        m = train(several(text, 150, 300), **options)
    except RuntimeError:
        return None
    if likely(0.2):  # pieces added later, as to models that learn another language
        for t in sorted({text()[:3].replace(" ", "\u2581") for _ in range(30)} - {p.piece for p in m.pieces}):
            m.pieces.add(piece=t, score=0)
    if likely(0.2):
        for p in m.pieces:
            if p.type == 1 and likely(0.1) and kind == "unigram":
                p.type = 5
    data = m.SerializeToString()
    sp = sentencepiece.SentencePieceProcessor(model_proto=data)
    cases = []
    for s in several(text, 4, 4) + ["", " ", "  a  b  "]:
        ids = several(lambda: rng.randrange(len(m.pieces)), 1, 5)
        encoded = sp.encode(s)
        cases.append({"text": s, "ids": encoded, "decoded": sp.decode(encoded), "random": ids, "random_decoded": sp.decode(ids)})
    return {"model": base64.b64encode(data).decode(), "cases": cases}


PATTERNS = {"cl100k_base": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
            "r50k_base": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""}


def tiktoken_case():
    """Ranks of tokens, as they are in files; the name of the encoding; texts with their ids."""
    name = one(sorted(PATTERNS))
    ranks = {bytes([b]): b for b in rng.sample(range(256), 256)}
    parts = [c.encode() for c in CHARS + list("aaab the")]
    while len(ranks) < 400:
        ranks.setdefault((one(parts) + one(parts))[:9], len(ranks))
        parts.append(list(ranks)[-1])
    e = tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
    cases = [{"text": s, "ids": e.encode(s)} for s in several(text, 8, 8) + ["a" * 40, " " * 30 + "b"]]
    return {"name": name, "ranks": "".join("%s %d\n" % (base64.b64encode(t).decode(), i) for t, i in ranks.items()), "cases": cases}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--regex", type=int, default=120)
    args.add_argument("--tokenizers", type=int, default=60)
    args.add_argument("--others", type=int, default=6)
    args.add_argument("file")
    args = args.parse_args()
    rng.seed(args.seed)
    out = {"regex": [c for c in (regex_case() for _ in range(args.regex)) if c],
           "tokenizers": [c for c in (tokenizer_case() for _ in range(args.tokenizers)) if c],
           "sentencepiece": [c for c in (sentence_piece_case() for _ in range(args.others)) if c],
           "tiktoken": [tiktoken_case() for _ in range(args.others)]}
    with open(args.file, "wb") as f:
        f.write(gzip.compress(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0))


main()
