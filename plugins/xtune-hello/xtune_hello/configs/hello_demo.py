"""Two epochs over the rows of this package. What is not written here has its default: xtune show-cfg hello_demo."""

model = dict(name="hello_135m", path="HuggingFaceTB/SmolLM2-135M-Instruct")
template = "hello"
objective = dict(name="hello_focal")
quantization = "hello_nf4"
tuning = dict(name="hello_norms")
data = [
    dict(path="package:xtune_hello/rows.jsonl", mapper="hello", options=dict(name="name")),
    dict(path="package:xtune_hello/names.hello", mapper="hello"),
]
max_length = 128
optimizer = dict(name="hello_momentum", lr=1e-3)
schedule = dict(name="hello_square")
callbacks = [dict(name="hello_clock", digits=2)]
train = dict(batch_size=2, epochs=2)
