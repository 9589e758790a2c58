"""A tokenizer whose ids can be read: every character is a token, and every control token of every template too."""

from __future__ import annotations

import re

TEXT = "".join(map(chr, range(32, 127))) + "\n\t 问答用户医生你好世界😀é：第轮"


def readable_tokenizer(control, **options):
    """Maps each character of TEXT, and each name in `control`, to one id; `<BOS>` and `<EOS>` are its own tokens.

    `options` are those of the added tokens, such as rstrip=True.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(["<unk>", *TEXT]))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    names = [name for name in dict.fromkeys(["<BOS>", "<EOS>", *control]) if not re.fullmatch(r"{\w+}", name)]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False, **options) for name in names])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<BOS>", eos_token="<EOS>", unk_token="<unk>", model_max_length=10**9
    )


def marked(sample, tokenizer):
    """The text of a sample, what is trained on between ⟦ and ⟧."""
    out, learning = [], False
    for index, label in zip(sample.ids, sample.labels, strict=True):
        assert label in (index, -100)
        if (label != -100) != learning:
            learning = not learning
            out.append("⟦" if learning else "⟧")
        out.append(tokenizer.convert_ids_to_tokens(int(index)))
    return "".join(out) + ("⟧" if learning else "")
