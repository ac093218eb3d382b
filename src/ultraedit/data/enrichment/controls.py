"""Other subjects of the same kind: facts that everyone can look up, and that no edit changes."""

from __future__ import annotations

from collections.abc import Mapping

_CONTROLS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "P17": (("Mount Fuji", "Japan"), ("The Colosseum", "Italy"), ("Machu Picchu", "Peru")),
    "P19": (
        ("Wolfgang Amadeus Mozart", "Salzburg"),
        ("Albert Einstein", "Ulm"),
        ("Pablo Picasso", "Málaga"),
    ),
    "P20": (
        ("Isaac Newton", "London"),
        ("Frédéric Chopin", "Paris"),
        ("Galileo Galilei", "Arcetri"),
    ),
    "P22": (
        ("Elizabeth II", "George VI"),
        ("Indira Gandhi", "Jawaharlal Nehru"),
        ("Alexander the Great", "Philip II of Macedon"),
    ),
    "P26": (
        ("Marie Curie", "Pierre Curie"),
        ("Frida Kahlo", "Diego Rivera"),
        ("Queen Victoria", "Prince Albert"),
    ),
    "P27": (("Albert Camus", "France"), ("Umberto Eco", "Italy"), ("Pelé", "Brazil")),
    "P30": (("Kenya", "Africa"), ("Peru", "South America"), ("Japan", "Asia")),
    "P36": (("Japan", "Tokyo"), ("Kenya", "Nairobi"), ("Peru", "Lima")),
    "P37": (("Brazil", "Portuguese"), ("Austria", "German"), ("Japan", "Japanese")),
    "P38": (("Japan", "the yen"), ("India", "the Indian rupee"), ("Poland", "the złoty")),
    "P50": (
        ("Pride and Prejudice", "Jane Austen"),
        ("War and Peace", "Leo Tolstoy"),
        ("Don Quixote", "Miguel de Cervantes"),
    ),
    "P57": (
        ("Psycho", "Alfred Hitchcock"),
        ("Jurassic Park", "Steven Spielberg"),
        ("Seven Samurai", "Akira Kurosawa"),
    ),
    "P69": (("Stephen Hawking", "University of Oxford"), ("Bill Clinton", "Yale University")),
    "P86": (
        ("The Magic Flute", "Wolfgang Amadeus Mozart"),
        ("The Four Seasons", "Antonio Vivaldi"),
        ("Swan Lake", "Pyotr Ilyich Tchaikovsky"),
    ),
    "P103": (("Victor Hugo", "French"), ("Leo Tolstoy", "Russian"), ("Umberto Eco", "Italian")),
    "P106": (
        ("Vincent van Gogh", "painter"),
        ("Usain Bolt", "sprinter"),
        ("Ludwig van Beethoven", "composer"),
    ),
    "P112": (
        ("Microsoft", "Bill Gates"),
        ("Wikipedia", "Jimmy Wales"),
        ("IKEA", "Ingvar Kamprad"),
    ),
    "P140": (("the Dalai Lama", "Buddhism"), ("Pope Francis", "Catholicism")),
    "P159": (("Toyota", "Toyota City"), ("Boeing", "Arlington"), ("Siemens", "Munich")),
    "P170": (
        ("Mona Lisa", "Leonardo da Vinci"),
        ("Guernica", "Pablo Picasso"),
        ("The Starry Night", "Vincent van Gogh"),
    ),
    "P175": (("Thriller", "Michael Jackson"), ("Imagine", "John Lennon")),
    "P176": (("Boeing 747", "Boeing"), ("iPhone", "Apple"), ("PlayStation", "Sony")),
    "P178": (("Windows", "Microsoft"), ("Photoshop", "Adobe"), ("Android", "Google")),
    "P407": (("Don Quixote", "Spanish"), ("War and Peace", "Russian"), ("Faust", "German")),
    "P495": (("sushi", "Japan"), ("pizza", "Italy"), ("Bollywood", "India")),
    "P641": (("Usain Bolt", "athletics"), ("Roger Federer", "tennis"), ("Pelé", "football")),
    "P1303": (("Jimi Hendrix", "guitar"), ("Miles Davis", "trumpet"), ("Yo-Yo Ma", "cello")),
    "P1412": (("Victor Hugo", "French"), ("Dante Alighieri", "Italian")),
}
"""Subjects and answers by relation, the key of ``probes/relations.toml``."""


def controls_of(relation: str) -> tuple[tuple[str, str], ...]:
    """Subjects of a relation with their answers; none where the table has none."""
    return _CONTROLS.get(relation, ())
