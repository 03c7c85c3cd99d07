"""Split a caption into the words that coco-caption counts.

coco-caption runs the Java program PTBTokenizer of Stanford CoreNLP 3.4.1 and drops a list of punctuation marks.  The
patterns here were made by watching what that program gives, and give the same (docs/evaluation.md#cider has the rest).
At every place the longest match counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_LETTERS = (
    "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u2189\u2460-\u24ff\u2776-\u2793\u3000-\u3029\u3220-\u33ff"
)
_JOINING = "\u00ad\u0300-\u036f"  # the soft hyphen, and accents as characters of their own
_L = rf"(?![{_NOT_LETTERS}])[^\W\d_]"
_LETTER = rf"(?:{_L}|[{_JOINING}])"
_ALNUM = rf"(?:{_L}|[\d{_JOINING}])"
_END = rf"(?!{_ALNUM})"
_QUOTE = r"['\u2019\u0092]"
_WORD = rf"{_ALNUM}+(?:_{_ALNUM}+)*"
_ACRONYM = rf"{_L}(?:\.{_L})+"

_ABBREVIATIONS = (
    "adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bhd bldg blvd brig bros calif capt cf cie cmdr "
    "co col colo conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov "
    "govs hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj mar md messrs mfg mich minn "
    "mlle mme mo mon mont mr mrs ms msgr mt mtg natl neb nev nov oct okla penn pfc ph plc ppte ppty pres prof pte "
    "ptes pty ptys pvt rd rep reps rev rt sen sens sep sept seq sfc sgt spc sq sr st ste supt sys tel tenn thu "
    "thurs treas tue tues univ va vs vt wed wis wisc wm wyo"
)
_CAPITALISED = "az ark del ill la mass miss ore pa tex wash"
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
_SENTENCE_STARTS = (
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now "
    "Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet "
    "You"
)


def _any(words: str, *forms: Callable[[str], str]) -> str:
    """Return a pattern of any of some words, in the forms that functions make of each; by default as they are."""
    made = {form(word) for word in words.split() for form in forms or (str,)}
    return f"(?:{'|'.join(sorted(made, key=len, reverse=True))})"


_PATTERNS = (
    # Tags, entities, addresses of mail and web, names and topics of social media
    r"</?[a-z][^<>\n]*>|<[!?][^<>\n]*>|&(?:amp|lt|gt|nbsp|quot|apos);",
    rf"{_ALNUM}[^\s\"<>|()]{{0,80}}?@(?:[^\s\"<>|().]+\.)*[^\s\"<>|().]+|@[a-z_]\w*|\#{_LETTER}+",
    r"https?://[^\s\"<>|()]+[^\s\"<>|.!?(){},-]",
    r"www\.[^\s\"<>|.!?(){},]+(?:\.[a-z]+)+(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?",
    r"(?-i:[a-z0-9][a-z0-9-]*\.)+(?:com|net|org|edu)(?:/[^\s\"<>|()]*[^\s\"<>|.!?(){},-]|/)?",
    # Words written as one
    rf"(?P<first>can)(?P<second>not){_END}",
    rf"(?P<first>gon|wan)(?P<second>na){_END}",
    rf"(?P<first>got)(?P<second>ta){_END}",
    rf"(?P<first>lem|gim)(?P<second>me){_END}",
    rf"(?P<first>{_QUOTE}t)(?P<second>is|was){_END}",
    # Apostrophes
    rf"(?P<head>{_ALNUM}+)n{_QUOTE}t{_END}|n{_QUOTE}t{_END}",
    rf"{_QUOTE}(?:s|m|d|ll|re|ve|till?|cause){_END}|{_QUOTE}em|{_QUOTE}n(?:{_QUOTE}|(?=[\s.,;:!?]|$))",
    rf"{_QUOTE}\d\ds|{_QUOTE}\d\d(?=\s|$)",
    rf"ol{_QUOTE}(?![smd])|[dljy]{_QUOTE}(?={_ALNUM})",
    rf"c{_QUOTE}mon|c{_QUOTE}est|e{_QUOTE}er|s{_QUOTE}mores",
    rf"n{_QUOTE}{_LETTER}{{2,}}|(?-i:[A-HJ-XZ]){_QUOTE}{_LETTER}{{2,}}|{_LETTER}+[aeiouy]{_QUOTE}[aeiou]{_LETTER}*",
    r"''|``|[\u2018\u2019\u201c\u201d\u00ab\u00bb\u2039\u203a]{2,}",
    # Words, with hyphens, points and strokes
    rf"(?:[dol]{_QUOTE})?{_WORD}(?:-(?:[dol]{_QUOTE})?{_WORD})*(?:\.(?=[,;:]))?",
    rf"{_ALNUM}+(?:[.,_]*{_ALNUM})*\.*(?:-(?:{_ACRONYM}\.|{_WORD}))+",
    rf"{_L}{_ALNUM}*(?:\.{_L}{_ALNUM}*)+",
    r"[a-z0-9]+(?:-[a-z]+)*(?:/[a-z0-9]+(?:-[a-z][a-z0-9]*)*){1,2}",
    rf"{_LETTER}{_ALNUM}*[!?]{_LETTER}{_ALNUM}*",
    r"c\+\+|c\#",
    # Numbers, fractions, dates, telephone numbers
    r"[-+]?[.,:]?\d+(?:[.,:]\d+)*",
    rf"(?:\d{{1,4}}[- \u00a0])?\d{{1,4}}\\?/\d{{1,4}}{_END}|\d{{1,2}}[-/]\d{{1,2}}[-/]\d{{2,4}}",
    r"\(\d{3}\)[ \u00a0]?\d{3}[- ]?\d{4}",
    # Abbreviations; a letter with a point is none before a word that often begins a sentence
    rf"{_ACRONYM}\.?",
    rf"(?-i:[A-Za-z]\.(?!\s+{_any(_SENTENCE_STARTS, str, str.upper)}(?:\s|$)))",
    rf"ph\.?d\.|{_any(_ABBREVIATIONS)}\.|(?-i:{_any(_CAPITALISED, str.capitalize, str.upper)})\.",
    rf"{_any(_BEFORE_NUMBERS)}\.(?=\s?\d)",
    r"(?-i:[A-Z]+(?:&[A-Z]+)+|(?:[A-Z]|US|HK|NZ|NT)\$)",
    # Runs of marks, and faces
    r"\?+!+[?!]*|!+\?+[!?]*|\?\?+|!!+|\.\.\.|(?:\. ){2,}\.|--+|[*]+|_+|\#+|@@+",
    rf"[:;=8][-^']?[()DPO](?!{_ALNUM})|\^_\^|[-']_[-'](?<!''_')|\([=-]{{2}}\)",
)
_RULES = [re.compile(pattern, re.IGNORECASE) for pattern in _PATTERNS]
_PLAIN = re.compile(r"(?!(?:cannot|gonna|wanna|gotta|lemme|gimme)(?:\s|$))[a-z]+(?=\s|$)", re.IGNORECASE)

_WRITTEN = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    "\u00a2": "cents", "\u00a3": "#", "\u00a4": "$", "\u20a0": "$", "\u20ac": "$",
    "\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3",
    "&amp;": "&", "&lt;": "<", "&gt;": ">", "&nbsp;": " ", "&quot;": " ", "&apos;": " ",
}  # fmt: skip
_INSIDE = str.maketrans({
    "\u00ad": "", "(": "-lrb-", ")": "-rrb-", "\u0092": "'", "\u2018": "`", "\u2019": "'",
    "\u201c": "``", "\u201d": "''", "\u00ab": "``", "\u00bb": "''", "\u2039": "`", "\u203a": "'",
})  # fmt: skip
_PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"', "\u2026"}
_DROPPED = re.compile(r"--+|[\u0096\u0097\u2013-\u2015]|[. ]+")
_LAST_CHARACTER = 0xFFFF  # later ones, among them most emoji, are two characters to Java, and read as none
_KEPT = re.compile(
    r"[-#%$&*+/<=>@\\^_|~\u00a1\u00a5-\u00a9\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bf\u00d7\u00f7\u0e3f\u2016\u2017\u201a\u201e"
    r"-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2070\u2074-\u207e\u2080-\u208e\u20a4\u2100-\u2101\u2103-\u2106\u2108\u2109"
    r"\u2114\u2116-\u2118\u211e-\u2123\u2125\u2127\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2155-\u215e"
    r"\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6]"
)


@lru_cache(maxsize=100_000)
def words(caption: str) -> tuple[str, ...]:
    """Split a caption into words, in lower case and without punctuation."""
    found, place = [], 0
    while place < len(caption):
        tokens, length = _next(caption, place)
        found += [word for token in tokens for word in _written(token)]
        place += length
    return tuple(found)


def _next(caption: str, place: int) -> tuple[tuple[str, ...], int]:
    """Return the tokens that begin at a place, and their length in characters."""
    if caption[place].isspace():
        return (), 1
    if plain := _PLAIN.match(caption, place):
        return (plain[0],), len(plain[0])
    matches = [match for rule in _RULES if (match := rule.match(caption, place))]
    if not matches:
        return (caption[place],), 1
    longest = max(matches, key=lambda match: match.end())
    groups = longest.groupdict()
    if groups.get("second"):
        return (groups["first"], groups["second"]), len(longest[0])
    token = groups.get("head") or longest[0]
    return (token,), len(token)


def _written(token: str) -> list[str]:
    """Write a token as the program does: marks that coco-caption drops, and what Java cannot read, become nothing."""
    lower = token.lower()
    if lower in _WRITTEN:
        return _WRITTEN[lower].split()
    written = lower.translate(_INSIDE)
    readable = len(token) > 1 or token.isalnum() or _KEPT.match(token)
    dropped = written in _PUNCTUATION or _DROPPED.fullmatch(token)
    return written.split() if readable and not dropped and ord(token[0]) <= _LAST_CHARACTER else []
