# ruff: noqa: RUF001 - the look-alikes of Latin punctuation are what Chinese replies are written with
"""The wordings in which a reply declares, rejects or takes back an answer; `grade_phrases` says what they mean.

Every pattern is matched against a view of the reply in which markdown is gone and white space is one space or line
break. None nests one unbounded repetition in another, so each is linear.
"""

import re

ADJECTIVE = (
    r"(?:final|correct|right|best|proper|accurate|appropriate|suitable|fitting|plausible|logical|likely|reasonable|"
    r"closest|matching|chosen|selected|most|only|single)"
)
ADVERB = (
    r"(?:therefore|thus|hence|then|so|indeed|clearly|definitely|certainly|likely|most|probably|simply|still|now|"
    r"obviously|actually|really|just|in fact|of course)"
)
BE = (
    r"(?:is|was|(?:would|should|must|will)\s(?:(?:therefore|then|thus|most likely)\s)?be|has to be|ought to be|"
    r"seems to be|appears to be|remains)"
)
LINK = (
    rf"[\"'*]?\s?(?:[:=]|->|=>|[→⇒➡]|,?\s(?:{ADVERB},?\s){{0,3}}{BE}\b(?:,?\s{ADVERB}\b){{0,3}},?\s?(?:that\s|:)?)"
)
DECLARED = re.compile(
    rf"(?<![A-Za-z0-9'])(?:(?:{ADJECTIVE}\s){{0,4}}(?:answer|ans)(?:\s(?:choice|option|letter))?|"
    rf"(?:{ADJECTIVE}\s){{1,4}}(?:option|choice|letter|selection)(?:\sletter)?|"
    r"(?<=my\s)(?:choice|selection|pick)|(?<=[\"_])(?:choice|option|letter)(?=\"))"
    r"(?:\s(?:to|for)\s(?:the|this|that|your)\s(?:given\s|above\s)?(?:question|problem|prompt)|\shere)?"
    r"(?:,?\sbased on [^.,:;\n]{1,80},?)?"
    rf"(?P<link>{LINK}|(?<=final answer)(?=\s)|[ ]*(?=\n))",
    re.IGNORECASE,
)
CHOSEN = re.compile(
    r"(?<![\w'])(?:i|we|let's|let us)(?:'ll|'d|'m|\swill|\swould|\sam|\smust|\scan|\sshould)?"
    rf"(?:\s{ADVERB}){{0,2}}\s(?:choose|chose|pick|picked|select|selected|answer|go with|going with|choosing|"
    r"selecting|opt for|opting for|conclude with)\b:?"
    rf"|(?<![\w'])mak(?:es?|ing)\sthe\s(?:{ADJECTIVE}\s){{0,4}}(?:answer|option|choice)\b:?",
    re.IGNORECASE,
)
CHINESE = re.compile(
    r"(?:(?:正确|最佳|最终|最后|最合适|最准确)?的?答案|(?:正确|最佳|最合适|最准确)的?(?:选项|选择))"
    r"(?:应该|应当|应|就|只能|一定|必须|必定|也|显然|最有可能)?(?P<neg>并?不(?:应该?|能|会|可能)?|绝?非)?"
    r"(?:(?:是|为|选(?!项)择?|:|=)+|】:?|(?=\s?[(\[]?[A-Za-z](?![A-Za-z])))|(?<![\u3040-\u9fff])答:"
    r"|(?P<neg2>不(?:应该?|能|该|要|会|可)?|别|没有?)?选(?:择|项(?=[:为是]))?"
    r"(?=\s?[:为是]?\s?(?:选项)?[(\[【\"']?\s?[A-Za-z](?![A-Za-z]))[:为是]?"
)
CHINESE_VERDICT = re.compile(
    r"(?<![A-Za-z、和与及或])[(\[]?(?P<letter>[A-Za-z])[)\]]?\s?(?:项|选项)?\s?才?(?:是|为)?最?"
    r"(?:(?P<neg>不正确|不准确|不对|不是|错误?)|正确|准确|对的|对(?=[。,;!\n]|$))"
)
BOXED = re.compile(r"\\f?box(?:ed)?\s?\{((?:[^{}\n]|\{[^{}\n]*\})*)\}")
VERDICT = re.compile(
    rf"\s(?:{ADVERB}\s)?(?:(?:{BE}|seems|appears|looks|can|could|cannot)\b|(?:is|are|was|ca|would|does)n't\b)\s?"
    rf"(?:{ADVERB}\s){{0,2}}(?P<neg>not\s|be\s)?(?:be\s)?(?:(?:the|my|our|an?)\s)?"
    rf"(?:(?:{ADJECTIVE}\s){{1,3}}(?:one|answer|option|choice|match|selection)\b|answer\b|"
    r"(?P<yes>correct|right)(?=\s?(?:[.,;!\n]|$|because|since|as\b|here))|"
    r"(?P<no>wrong|incorrect|false|ruled out|eliminated|excluded|impossible|out\b))",
    re.IGNORECASE,
)
RETRACTED = re.compile(
    r"(?:^|[.!?,;…\n-])\s?(?:(?:oh|no|but|hmm+|well|uh|actually)[,.]*\s){0,2}"
    r"(?:(?:wait|hold on|hmm+|actually|no)(?=\s?[,.!…—-]|\s(?:no|that|i|let|maybe|the)\b)|"
    r"(?:scratch that|on second thou?ghts?|let me (?:re|double|look again|check again|think again)|"
    r"i (?:mean|was wrong|made a mistake|misread|misspoke)|correction|or rather|sorry)\b)"
    r"|\b(?:that|this)(?:'s|\s(?:is|was))(?:\s(?:wrong|incorrect|not right|not correct|a mistake)|"
    r"n't right|n't correct)\b"
    r"|等等|等一下|不对[,。!]|我错了|更正",
    re.IGNORECASE | re.MULTILINE,
)
LAST_WORDS = re.compile(
    r"(?:^|[.!?;,\n]\s?)(?:(?:i\s(?:think|believe|guess|would say)|i'd say|so|thus|therefore|hence|"
    r"in conclusion|finally|因此|所以|∴)[,:]?\s?(?:that\s)?)?"
    r"(?P<is>(?:it|that|this)(?:'s| is| must be| should be)\s|是)?(?P<what>[^.!?;,\n]{1,80})[.!。]?$",
    re.IGNORECASE,
)

SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])\.(?=[\s\"')]|$)|[!?;。！？\n]")
CLAUSE = re.compile(
    r"[,;:(]|\b(?:but|however|yet|so|thus|therefore|hence|means?|meaning|making|because|since|and)\b",
    re.IGNORECASE,
)
DENIED = re.compile(
    r"\b(?:not|never|neither|nor|doubt|deny|unlikely|unclear|unsure|wrong|incorrect|false)\b|n't\b|不|没",
    re.IGNORECASE,
)
SUPPOSED = re.compile(
    r"\b(?:if|unless|whether|suppose|supposing|assuming|might|may|could|someone|one would|at first|initially|"
    r"originally|previously|earlier|would have|said|says|claim(?:s|ed)?|for example|for instance|e\.g)\b|"
    r"如果|假如|假设|若|是否",
    re.IGNORECASE,
)
OTHERS = re.compile(
    r"(?:\b(?:wrong|incorrect|initial|first|previous|earlier|original|second|next|other|another|possible|potential|"
    r"alternative|tempting|plausible|student's|their|his|her|your|user's|model's|each|every|any|no|an?)|n't|\bnot)\s$",
    re.IGNORECASE,
)
NO_ANSWER = re.compile(  # "the answer is clear", "the correct answer is based on …": said about the answer
    r"(?:clear|obvious|evident|based|consistent|supported|derived|determined|found|given|correct|right|wrong|"
    r"incorrect|straightforward|visible|as follows)\b",
    re.IGNORECASE,
)
NOT = re.compile(
    r"(?:(?:definitely|certainly|clearly|likely|probably)\s)?(?:not|neither|never|unlikely|不是|非)\b\s?",
    re.IGNORECASE,
)
BUT = re.compile(r"\s?[,;]?\s?(?:but|rather|instead,?|it's|it is|而是|是)\s?(?:rather\s)?", re.IGNORECASE)
LABEL = re.compile(
    r"(?:(?:the\s)?(?:option|choice|letter|answer|选项)\s?)?(?P<open>[\"'(\[{<【*$]{0,3})\s?(?:option\s)?"
    r"(?P<letter>[A-Za-z])(?P<close>\s?[)\]}>】\"'*$]{1,3})?(?![A-Za-z0-9_\u00c0-\u024f'&+#/°%-])",
    re.IGNORECASE,
)
ANOTHER = re.compile(
    r"\s?(?:[,;|/&+、]|[,(]?\s?\b(?:or|and|and/or|to|through|versus|vs\.?|plus|as well as|along with|with)\b|"
    r"和|或|与|及|还是)\s?(?:also\s|possibly\s|maybe\s|perhaps\s)?(?:option\s)?[(\[\"']?(?P<letter>[A-Za-z])"
    r"(?:(?=[)\]\"'.,;:!?]|$|\s(?:or|and)\b|\s*$|[\u3040-\u9fff])|(?<=\b(?-i:[B-HJ]))(?=\s))",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\s?(?:[,;(—–-]\s?)?(?:because|since|as|due|given|based|for|so|not|rather|instead|over|which|where|while|whereas|"
    r"but|and|though|although|according|from|here|in (?:this|the)|with a|confidence)(?![A-Za-z])|"
    r"\s?,?(?:因为|由于|而不是|而非|不是|项|选项|吧)",
    re.IGNORECASE,
)
TEXT_REASON = re.compile(
    r"\s?(?:,\s?)?(?:because|since|rather than|instead of|not)(?![A-Za-z])|\s?,\s?(?:as|which|so|since)\b|"
    r"\s?,?(?:因为|由于|而不是|而非)",
    re.IGNORECASE,
)
JOINED = re.compile(r"[\s$,;/&]{0,4}(?:or|and|和|或)?[\s$]{0,4}")
LABEL_STOP = re.compile(r"\b[A-Za-z]\.\s")
BESIDE = re.compile(  # "blue (B)", "blue, option B"
    r"\s?,?\s?(?:which is\s|i\.?e\.?,?\s)?(?:option\s[(\[]?|[(\[]\s?(?:option\s)?)([a-z])(?![a-z0-9])"
)
ECHO = re.compile(r"[\s,;.]*(?:(?:or|and|&)\s)?(?:[(\[][A-Z][)\]]|\b[A-Z][).:])")
LABEL_LED = re.compile(r"[ ]?(?:[-*•] )?[(\[]?[A-Z](?:[)\].:]|\s?[-–—:]\s)", re.MULTILINE)
MARKS = re.compile(r"\*\*|__|`+(?:[a-z]{1,10}\n)?|^[ ]?(?:#{1,6}|>) |[✅✔☑👉🔹🔸🎯💡🏆]", re.MULTILINE)
ITALIC = re.compile(r"\*([^*\n]{1,200})\*")
BREAK = re.compile(r"\b(?:but|however|yet)\b|[—]| - ", re.IGNORECASE)
OPENING = re.compile(
    r"^(?:(?:so|thus|therefore|hence|then|and|clearly|because|actually|i think|i believe|i'd say|i would say|that|"
    r"this means|we conclude|overall|finally|only|answer|in conclusion|it seems)[,:]?\s)+",
    re.IGNORECASE,
)
OF_OPTIONS = re.compile(r"option|choice|candidate|选项|each|consider", re.IGNORECASE)
SEPARATED = re.compile(r"^[\s.:;,\-–—=\"'(*]+")
TEXT_ENDS = re.compile(r"\s?[.;!。](?!\.)|\s?,?\s?[\"'}\]]")
CONCESSION = re.compile(r"\s?(?:although|though|while|even though|despite|whereas)\b", re.IGNORECASE)
