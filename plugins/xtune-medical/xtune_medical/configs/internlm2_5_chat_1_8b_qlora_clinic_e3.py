"""InternLM2.5-Chat-1.8B, QLoRA, a clinic's rows, 3 epochs."""

_base_ = "_clinic.py"

model = dict(name="internlm2_5_chat_1_8b", path="internlm/internlm2_5-1_8b-chat")
template = "clinic_internlm2"
tuning = dict(name="qlora", rank=32, alpha=64)
