"""What can be known before training begins: each finding, and whether training must not start.

In the order of their cost: `of_settings` needs nothing but the config, `of_model` small files of the model, and
`of_data` every row.
"""
