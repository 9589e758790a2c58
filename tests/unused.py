"""Registered components that no config of the catalogue names, and why."""

TEMPLATES = {
    "deepseekcoder": "the same as deepseek_coder, under the name that XTuner 0.1.10 gave it",
    "smollm2": "the same as chatml",
    "smollm3_no_think": "an alternative to smollm3 for rows without reasoning: template=smollm3_no_think",
    "wizardcoder": "for adapters trained with XTuner; WizardCoder itself is superseded",
    "wizardlm": "for adapters trained with XTuner; WizardLM itself is superseded",
}

MAPPERS = {
    "default": "for your own rows with the columns input and output: --mapper default",
    "preference": "for pairs of a chosen and a rejected answer, which no tuning strategy learns from",
    "sharegpt": "for your own rows in that form: --mapper sharegpt; wizardlm is the same",
}
