"""Cohere's chat template: https://huggingface.co/CohereForAI/c4ai-command-r-v01."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    "cohere_chat": ChatTemplate(
        begin="<BOS_TOKEN>",
        system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{text}<|END_OF_TURN_TOKEN|>",
        user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{text|trim}<|END_OF_TURN_TOKEN|>",
        assistant="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        answer="{text|trim}",
        end="<|END_OF_TURN_TOKEN|>",
        control=(
            "<BOS_TOKEN>",
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
        ),
    )
}
