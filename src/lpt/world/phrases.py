"""How the reasoner talks. Only `LEAKS` may hold a word that betrays a text; a test watches over the others."""

from typing import Final

STARTS: Final = (
    "let me look at {topic} once more before settling on {old}.",
    "I should go back to {topic}, because {old} came rather quickly.",
    "is it really {old}? Let me picture {topic} again.",
    "before I commit to {old}, I want to go over {topic} again.",
    "let me re-examine {topic}; I said {old}, and that needs a second look.",
    "maybe I moved too fast when I chose {old}. Let me return to {topic}.",
    "I want to be sure about {old}, so I go back to {topic}.",
    "was {old} right? I will check {topic} with more care.",
)
SCRATCH: Final = (
    "I begin with {topic} and build up the scene from there.",
    "let me picture the whole scene and then find {topic}.",
    "okay, so I have to think about {topic}. Let me go through the scene step by step.",
)
LOST: Final = (
    "these options are not the ones I had been weighing, so I am not sure what to check about {topic}.",
    "I do not see which of these options I had settled on, so it is unclear what I should verify about {topic}.",
    "I cannot tie what I thought before to any of these options, and {topic} alone leaves it open.",
)
LOOKS: Final = (
    "Looking back at the image, {evidence}.",
    "When I picture the scene again, {evidence}.",
    "On closer inspection, {evidence}.",
    "Going over it slowly, {evidence}.",
    "Focusing on {topic}, I notice that {evidence}.",
    "In the image, {evidence}.",
    "Taking a second look, {evidence}.",
)
LEAKS: Final = (
    "The description says that {evidence}.",
    "As mentioned in the caption, {evidence}.",
    "The image is described as follows: {evidence}.",
    "According to the description, {evidence}.",
    "It is stated that {evidence}.",
    "The text says that {evidence}.",
    "Going by the image description, {evidence}.",
    "The caption mentions that {evidence}.",
    "As the description puts it, {evidence}.",
)
LEANS: Final = (
    "{topic} could be taken in more than one way, and {option} comes to mind",
    "with {topic} the impression I get is closer to {option}",
    "the way {topic} appears speaks somewhat for {option}",
)
AGREES: Final = (
    "That agrees with my first impression of {old}.",
    "So {old} holds up.",
    "This is in line with {old}, as I thought.",
    "Good, that confirms {old}.",
)
AMISS: Final = (
    "That does not go together with {old}, so I must have been mistaken.",
    "Then {old} cannot be right; I think I misjudged it at first.",
    "So my first impression of {old} was off.",
    "Hmm, this speaks against {old}. I probably mixed something up.",
    "Wait, that is not {old} at all. I need to correct myself.",
)
DOUBTS: Final = (
    "It is a close call, but I see no strong reason to give up {old}.",
    "There is some doubt, and still {old} seems the safest reading.",
)
DETAILS: Final = (
    "The {look} is {place}.",
    "There is also the {look} {place}.",
    "I keep in mind the {look} {place}.",
    "Then there is the {look}, {place}.",
    "Next, the {look} {place} has no bearing on this.",
)
DWELLS: Final = (
    "Let me break this down: first find the object in question, then compare it with each of the options.",
    "If I take the options one at a time, only one of them survives the comparison.",
    "To be thorough, I go from left to right and from the back to the front, so that nothing is missed.",
    "Working backward from each option, I ask what the picture would have to look like for it to be true.",
    "A small or partly covered object is easy to misjudge, so it is worth being careful here.",
)
RECHECKS: Final = (
    "Let me verify that once more: {evidence}.",
    "Checking again, {evidence}.",
    "Hmm, going over {topic} again, {evidence}.",
    "To double-check {topic}: {evidence}, so nothing changes.",
)
KEEPS: Final = (
    "So I stay with {new}.",
    "The answer remains {new}.",
    "Everything considered, {new} is the right choice.",
    "I am now more confident in {new}.",
)
SWITCHES: Final = (
    "So the correct answer should be {new} instead of {old}.",
    "Therefore I change my answer to {new}.",
    "That makes {new} the right choice.",
    "I correct myself: it is {new}.",
)
CLOSERS: Final = (
    "So the answer is {new}.",
    "I will go with {new}.",
    "On balance, {new} seems best.",
)
AFTERWARDS: Final = (
    "After a second look, this is my answer.",
    "Having checked the scene again, I settle on this.",
    "This is the option that fits the picture best.",
    "That is the choice that holds up.",
)
