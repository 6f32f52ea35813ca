#!/usr/bin/env python3
"""Makes vectors.json.gz: what the tokenizers library does with regular expressions,
tokenizers and texts made up at random.

    pip install tokenizers==0.22.2
    python vectors.py [--seed N] [--regex N] [--tokenizers N] FILE

The committed file is made with the defaults. A longer proof: make a file with many
more and another seed, and run
    NIBBLE_VECTORS=FILE go test ./model/tokenizer -run TestVectors
"""
import argparse
import gzip
import json
import random

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


def model():
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
    ids, tokens = dict(vocab), []
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
        return one([{"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"}, {"type": "CharDelimiterSplit", "delimiter": one(["a", " ", "▁"])}])
    return {"type": "Split", "pattern": pattern(), "behavior": one(BEHAVIORS), "invert": likely(0.4)}


def decoder():
    def strip(start, stop):
        return {"type": "Strip", "content": " ", "start": start, "stop": stop}
    space = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": one(["always", "first", "never"]), "split": True}
    fallback, fuse = {"type": "ByteFallback"}, {"type": "Fuse"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    chain = one([[space, fallback, fuse, strip(1, 0)], [space, fallback, fuse], [fallback, meta], [space, strip(1, 1), fallback], [fuse, space, strip(2, 0)]])
    return one([None, byte_level, byte_level, byte_level, meta, {"type": "BPEDecoder", "suffix": "</w>"}, fallback, {"type": "Sequence", "decoders": chain}, {"type": "Sequence", "decoders": chain}])


def post_processor(vocab, tokens):
    known = list(vocab.items()) + [(t["content"], t["id"]) for t in tokens] * 20
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


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--regex", type=int, default=120)
    args.add_argument("--tokenizers", type=int, default=60)
    args.add_argument("file")
    args = args.parse_args()
    rng.seed(args.seed)
    out = {"regex": [c for c in (regex_case() for _ in range(args.regex)) if c],
           "tokenizers": [c for c in (tokenizer_case() for _ in range(args.tokenizers)) if c]}
    with open(args.file, "wb") as f:
        f.write(gzip.compress(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0))


main()
