"""SmolLM2-135M-Instruct, LoRA, a clinic's rows, 3 epochs: runs on a laptop."""

_base_ = "_clinic.py"

model = dict(name="smollm2_135m_instruct", path="HuggingFaceTB/SmolLM2-135M-Instruct")
template = "clinic_smollm2"
tuning = dict(name="lora", rank=16, alpha=32)
