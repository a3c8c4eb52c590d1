"""Invented people in the header of a report, in Spanish and in English; common names, drawn at random."""

from dataclasses import dataclass

from bimcvr.phantom.reports.findings import Rng

_GIVEN = (
    "María",
    "Carmen",
    "Josefa",
    "Ana",
    "Isabel",
    "Dolores",
    "Pilar",
    "Teresa",
    "Lucía",
    "Rosario",
    "Antonio",
    "José",
    "Manuel",
    "Francisco",
    "Vicente",
    "Javier",
    "Ramón",
    "Salvador",
    "Joaquín",
    "Enrique",
)
_FAMILY = (
    "García",
    "Martínez",
    "López",
    "Sánchez",
    "Pérez",
    "Gómez",
    "Ferrer",
    "Navarro",
    "Ruiz",
    "Domínguez",
    "Soler",
    "Ortega",
    "Vidal",
    "Climent",
    "Ibáñez",
    "Sanchis",
    "Moreno",
    "Peris",
    "Llorens",
    "Benavent",
)
_HOSPITALS = (
    "Hospital General de Castelló",
    "Hospital Clínico de Valencia",
    "Hospital de San Juan",
    "Hospital Marina Baixa",
    "Hospital Doctor Peset",
    "Centro de Salud Alzira",
)
_STREETS = ("Calle Mayor", "Avenida del Puerto", "Calle San Vicente", "Plaza del Ayuntamiento", "Calle Colón")
_CITIES = (("Valencia", 46), ("Castellón", 12), ("Alicante", 3))


@dataclass(frozen=True)
class Personal:
    """A report's header about a person.

    Attributes:
        spanish: the sentences that go before the findings.
        english: the same in English.
        items: (kind, text) of everything personal in them.
    """

    spanish: str
    english: str
    items: tuple[tuple[str, str], ...]


def invent_person(rng: Rng) -> Personal:
    """Draw a person, of whom the report states the name and at least two other facts."""

    def choose(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    name = f"{choose(_GIVEN)} {choose(_FAMILY)} {choose(_FAMILY)}"
    doctor = f"{choose(_GIVEN)} {choose(_FAMILY)} {choose(_FAMILY)}"
    city, province = _CITIES[int(rng.integers(len(_CITIES)))]
    birth, visit = _date(rng, 1930, 1990), _date(rng, 2019, 2021)
    phone = f"6{int(rng.integers(10, 99))} {int(rng.integers(100, 999))} {int(rng.integers(100, 999))}"
    record, street = str(int(rng.integers(100000, 999999))), f"{choose(_STREETS)} {int(rng.integers(1, 120))}"
    post, hospital = f"{province:02d}{int(rng.integers(1, 999)):03d}", choose(_HOSPITALS)
    facts = [
        (("RECORD", record), f"NHC: {record}.", f"Record number: {record}."),
        (("DATE", birth), f"Fecha de nacimiento: {birth}.", f"Date of birth: {birth}."),
        (("DATE", visit), f"Fecha del estudio: {visit}.", f"Date of study: {visit}."),
        (("PHONE", phone), f"Teléfono: {phone}.", f"Telephone: {phone}."),
        (
            ("ADDRESS", f"{street} {post} {city}"),
            f"Domicilio: {street}, {post} {city}.",
            f"Address: {street}, {post} {city}.",
        ),
        (("HOSPITAL", hospital), f"{hospital}.", f"{hospital}."),
        (("NAME", doctor), f"Médico: Dr. {doctor}.", f"Physician: Dr. {doctor}."),
    ]
    chosen = sorted(rng.permutation(len(facts))[: int(rng.integers(2, len(facts) + 1))].tolist())
    spanish = " ".join([f"Paciente: {name}.", *(facts[i][1] for i in chosen)])
    english = " ".join([f"Patient: {name}.", *(facts[i][2] for i in chosen)])
    return Personal(spanish, english, (("NAME", name), *(facts[i][0] for i in chosen)))


def _date(rng: Rng, first: int, last: int) -> str:
    return f"{int(rng.integers(1, 29)):02d}/{int(rng.integers(1, 13)):02d}/{int(rng.integers(first, last + 1))}"
