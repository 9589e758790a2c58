"""Qwen2.5-1.5B-Instruct, QLoRA, a clinic's rows, 3 epochs."""

_base_ = "_clinic.py"

model = dict(name="qwen2_5_1_5b_instruct", path="Qwen/Qwen2.5-1.5B-Instruct")
template = "clinic_qwen2_5"
tuning = dict(name="qlora", rank=32, alpha=64)
