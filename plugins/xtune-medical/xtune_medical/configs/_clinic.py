"""What the clinic's configs share. A name that begins with an underscore is a part, which list-cfg does not show."""

data = [
    dict(path="package:xtune_medical/rows/visits.xlsx", sheet="Visits", mapper="clinic_visit"),
    dict(path="package:xtune_medical/rows/questions.csv", mapper="clinic_question"),
]
max_length = 1024
optimizer = dict(name="adamw", lr=2e-4, weight_decay=0.01)
schedule = dict(name="cosine", warmup_ratio=0.03)
train = dict(batch_size=1, accumulate=4, epochs=3)
evaluation = dict(
    every=50,
    holdout=0.1,
    prompts=["I have had a headache for three days. What should I do?", "May I take ibuprofen with aspirin?"],
)
