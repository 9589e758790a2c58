"""What transformers, of whichever version is found, sees in model folders: for test_older_readers."""

import json
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

TEXTS = ["hi", "  two spaces", "你好，世界！", "<|im_start|>user\nx<|im_end|>", "x = 1\n\n\ty"]
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "x"}]
ROLES = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")


def seen(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.arange(3, 60)[None]).logits[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        ids.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    roles = [getattr(tokenizer, role) for role in ROLES]
    return {"ids": ids, "roles": roles, "special": sorted(tokenizer.all_special_tokens), "logits": logits}


def config(folder):
    values = AutoConfig.from_pretrained(folder).to_dict() | {"_name_or_path": "", "transformers_version": ""}
    return json.loads(json.dumps(values, default=str))


def read(what, folders):
    """{folder: what is seen there, or the error as text}"""
    found = {}
    for folder in folders:
        try:
            found[folder] = {"config": config, "all": seen}[what](folder)
        except Exception as error:
            found[folder] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    what, out, *folders = sys.argv[1:]
    torch.save((transformers.__version__, read(what, folders)), out)
