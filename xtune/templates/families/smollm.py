"""SmolLM3's chat template: https://huggingface.co/HuggingFaceTB/SmolLM3-3B. SmolLM2's is ChatML.

Its system block, which is never closed unless tools are listed, carries the date; it is held at one day here, so that
data prepared twice is the same. Flags such as /no_think in a system message are not read: there are two templates.
"""

from dataclasses import replace

from xtune.templates.template import ChatTemplate

METADATA = (
    "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: 26 July 2024\n"
    "Reasoning Mode: {mode}\n\n## Custom Instructions\n\n"
)
NAME = "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
NO_THINK = ChatTemplate(
    system=METADATA.replace("{mode}", "/no_think") + "{text|trim_end}\n\n",
    default_system=NAME,
    user="<|im_start|>user\n{text}<|im_end|>\n",
    assistant="<|im_start|>assistant\n<think>\n\n</think>\n",
    answer="{text|trim_start_lines}",
    end="<|im_end|>",
    tail="\n",
    tool="<|im_start|>user\n{text}<|im_end|>\n",
    control=("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    markup=("<tool_call>", "</tool_call>"),
)

TEMPLATES = {
    "smollm3": replace(
        NO_THINK,
        system=METADATA.replace("{mode}", "/think") + "{text|trim_end}\n\n",
        default_system=(
            f"{NAME} Your role as an assistant involves thoroughly exploring questions through a systematic thinking "
            "process before providing the final precise and accurate solutions. This requires engaging in a "
            "comprehensive cycle of analysis, summarizing, exploration, reassessment, reflection, backtracking, and "
            "iteration to develop well-considered thinking process. Please structure your response into two main "
            "sections: Thought and Solution using the specified format: <think> Thought section </think> Solution "
            "section. In the Thought section, detail your reasoning process in steps. Each step should include "
            "detailed considerations such as analysing questions, summarizing relevant findings, brainstorming new "
            "ideas, verifying the accuracy of the current steps, refining any errors, and revisiting previous steps. "
            "In the Solution section, based on various attempts, explorations, and reflections from the Thought "
            "section, systematically present the final solution that you deem correct. The Solution section should be "
            "logical, accurate, and concise and detail necessary steps needed to reach the conclusion."
        ),
        assistant="<|im_start|>assistant\n",
        markup=("<think>", "</think>", *NO_THINK.markup),
    ),
    "smollm3_no_think": NO_THINK,
}
