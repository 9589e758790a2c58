"""DeepSpeed's files, as XTuner had them. "auto" is filled in from the config when training starts."""
