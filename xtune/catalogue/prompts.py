"""Questions that a run answers now and then, to show what it has learned so far; see the datasets for which."""

SCENIC = ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"]

CODE = [
    "写一个Python函数，将十六进制颜色代码（如#0066ee）转换为对应的红、绿、蓝（RGB）三个颜色分量值，并以元组的形式返回。",
    "Write a Python function that takes a hexadecimal color code (e.g., #0066ee) as input and converts it into the "
    "corresponding red, green, and blue (RGB) color component values.",
]

FUNCTION = [
    "from typing import List def has_close_elements(numbers: List[float], threshold: float) -> bool: "
    '""" Check if in given list of numbers, are any two numbers closer to each other than given threshold. '
    ">>> has_close_elements([1.0, 2.0, 3.0], 0.5) False "
    '>>> has_close_elements([1.0, 2.8, 3.0, 4.0, 5.0, 2.0], 0.3) True """'
]

SQL = [
    "CREATE TABLE station (name VARCHAR, lat VARCHAR, city VARCHAR)\n"
    "Find the name, latitude, and city of stations with latitude above 50.",
    "CREATE TABLE weather (zip_code VARCHAR, mean_visibility_miles INTEGER)\n找到mean_visibility_miles最大的zip_code。",
]

LAWYER = ["请问离婚需要准备什么材料？", "销售鳄鱼皮包违法吗？"]

COLORIST = ["请给我一个像天空一样清澈透明的蓝色。", "Please give me a clear blue like the sky."]

MEDICAL = [
    "我有家族遗传性的过敏，请问可以可以献血吗？",
    "我爷爷有高血压，请问他可以喝咖啡吗？",
    "我女儿今年3岁了，从昨天晚上九点开始腹泻，到现在已经八个小时了，请问应该怎么办？",
]

MEDICATION = ["How long does nicotine stay in your system?", "Can ibuprofen be taken with aspirin?"]

MOSS = [
    "一个球体的表面积是384平方厘米，求它的体积。",
    "今有鸡兔同笼，上有二十头，下有六十二足， 问鸡兔各几何？",
    "介绍一下比尔盖茨",
]

WEATHER = ["上海明天天气怎么样？"]

SHANGHAI = ["上海是", "Shanghai is"]

SCENIC_START = ["上海的景点有"]

IDENTITY = ["Who are you?", "你是谁？", "What is the capital of France?"]

ABSTRACTS = [
    # InternLM's technical report, and arXiv:2307.09288
    "We present InternLM, a multilingual foundational language model with 104B parameters. InternLM is pre-trained on "
    "a large corpora with 1.6T tokens with a multi-phase progressive process, and then fine-tuned to align with human "
    "preferences. We also developed a training system called Uniscale-LLM for efficient large language model "
    "training. The evaluation on a number of benchmarks shows that InternLM achieves state-of-the-art performance in "
    "multiple aspects, including knowledge understanding, reading comprehension, mathematics, and coding. With such "
    "well-rounded capabilities, InternLM achieves outstanding performances on comprehensive exams, including MMLU, "
    "AGIEval, C-Eval and GAOKAO-Bench, without resorting to external tools. On these benchmarks, InternLM not only "
    "significantly outperforms open-source models, but also obtains superior performance compared to ChatGPT. Also, "
    "InternLM demonstrates excellent capability of understanding Chinese language and Chinese culture, which makes it "
    "a suitable foundation model to support Chinese-oriented language applications. This manuscript gives a detailed "
    "study of our results, with benchmarks and examples across a diverse set of knowledge domains and tasks.",
    "In this work, we develop and release Llama 2, a collection of pretrained and fine-tuned large language models "
    "(LLMs) ranging in scale from 7 billion to 70 billion parameters.\nOur fine-tuned LLMs, called LLAMA 2-CHAT, are "
    "optimized for dialogue use cases. Our models outperform open-source chat models on most benchmarks we tested, "
    "and based on our human evaluations for helpfulness and safety, may be a suitable substitute for closedsource "
    "models. We provide a detailed description of our approach to fine-tuning and safety improvements of LLAMA 2-CHAT "
    "in order to enable the community to build on our work and contribute to the responsible development of LLMs.",
]
