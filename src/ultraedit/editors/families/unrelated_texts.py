"""Unrelated texts: what a side memory must leave alone.

Written for this package: things that everybody knows, as questions and as sentences, none of them
from a data set that scores an editor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ultraedit.core.errors import ConfigError, DataError

BUILT_IN = "built-in"

TEXTS = (
    "Which gas do plants take in from the air? carbon dioxide",
    "How many legs does a spider have? eight",
    "The sun rises in the east",
    "What do bees collect from flowers? nectar",
    "In which season do leaves fall from the trees? autumn",
    "The boiling point of water at sea level is one hundred degrees",
    "Which organ pumps blood through the body? the heart",
    "Bread is baked from flour, water, yeast and salt",
    "What is the opposite of cold? hot",
    "Which animal is known as the king of the jungle? the lion",
    "The native tongue of most people in Brazil is Portuguese",
    "What is the capital of the country where the Nile ends? Cairo",
    "The largest planet of the solar system is Jupiter",
    "Who wrote the play about the prince of Denmark? Shakespeare",
    "The profession of a person who flies aeroplanes is pilot",
    "Which instrument has eighty-eight keys? the piano",
    "The city of canals in the north of Italy is Venice",
    "What is frozen water called? ice",
    "The mountain range between France and Spain is the Pyrenees",
    "Which metal is liquid at room temperature? mercury",
    "He who paints walls for a living works as a painter",
    "In what year did the first people walk on the moon? 1969",
    "The official language of Egypt is Arabic",
    "Which company is named after the river with the largest flow? Amazon",
    "A doctor who treats animals is called a vet",
    "What is the name of the ocean between Africa and Australia? the Indian Ocean",
    "Penguins live on the continent of the south, Antarctica",
    "Which sport is played at Wimbledon? tennis",
    "The currency that is used in Japan is the yen",
    "Who painted the ceiling of the Sistine Chapel? Michelangelo",
    "The mother of a prince is usually a queen",
    "What do caterpillars turn into? butterflies",
    "Football teams have eleven players on the field",
    "Which country is shaped like a boot? Italy",
    "The instrument that is used to look at the stars is the telescope",
    "On which continent is the Sahara located? Africa",
    "Cheese is made from milk",
    "What was the job of Galileo Galilei? astronomer",
    "The founder of analytic geometry, Descartes, was born in France",
    "To which genus do dogs and wolves belong? Canis",
    "Who is the author of the laws of motion? Isaac Newton",
    "The music that comes from New Orleans is jazz",
    "What kind of school teaches people to become lawyers? law school",
    "The river that flows through London is the Thames",
    "What material are most windows made of? glass",
    "When did the Second World War end? 1945",
    "The head of a monastery is an abbot",
    "Which league does a baseball team from Boston play in? the American League",
)


def read_texts(source: str, read_lines: Callable[[str], Sequence[str]]) -> list[str]:
    """Read unrelated texts.

    Args:
        source: ``built-in``, or the path of a file with one text a line.
        read_lines: Reads a file, as `Host.read_lines` does.

    Raises:
        ConfigError: If there is no such file.
        DataError: If a text has no two words, or there is none at all.
    """
    if source == BUILT_IN:
        return list(TEXTS)
    try:
        lines = read_lines(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"locality must be {BUILT_IN} or the path of a file with one text a line, got "
            f"{source!r}: {getattr(error, 'strerror', None) or error}."
        ) from None
    texts = [line.strip() for line in lines if line.strip()]
    for text in texts:
        if len(text.split()) < 2:
            raise DataError(f"{source}: {text!r} has a single word. Give texts of at least two.")
    if not texts:
        raise DataError(f"{source} holds no text. Give it one unrelated text a line.")
    return texts


def split_text(text: str) -> tuple[str, str]:
    """All of a text but its last word, and that word."""
    prompt, _, answer = text.rpartition(" ")
    return prompt.rstrip(), answer
