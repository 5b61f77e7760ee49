//! Made-up people, the same wherever they are a patient.

use crate::draw::{Draw, LAST_DAY, days_after};
use jiff::civil::Date;

/// Where a person comes from; decides names, postcodes and telephone numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Country {
    Scotland,
    Netherlands,
    Catalonia,
}

/// What stays the same about a person.
pub(crate) struct Person {
    pub(crate) female: bool,
    pub(crate) given: &'static str,
    pub(crate) family: &'static str,
    /// The second of two family names, where that is the custom.
    pub(crate) second_family: Option<&'static str>,
    /// The family name at birth.
    pub(crate) family_at_birth: &'static str,
    pub(crate) birth: Date,
    pub(crate) country: Country,
    pub(crate) height_cm: i64,
    /// Weight some years ago, in tenths of a kilogram.
    pub(crate) weight_hg: i64,
    pub(crate) smoker: bool,
    pub(crate) home: Home,
}

/// Where a person lives. Postcodes and telephone numbers lie in ranges that are never issued.
pub(crate) struct Home {
    pub(crate) street: String,
    pub(crate) town: &'static str,
    pub(crate) postcode: (String, String),
    pub(crate) telephone: String,
}

/// Whether somebody may be a child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Adult,
    Any,
}

impl Person {
    /// The person of this stream of choices.
    pub(crate) fn draw(draw: &mut Draw, country: Country, age: Age) -> Self {
        let female = draw.chance(54);
        let (given, families) = names(country, female);
        let years = if age == Age::Adult { draw.around(44, 88) } else { draw.between(1, 90) };
        let height_cm = height(draw, years, female);
        // A body-mass index of 19.0 to 34.0, in tenths.
        let index = if years < 18 { draw.around(150, 220) } else { draw.around(190, 340) };
        let [family, other] = [draw.pick(families), draw.pick(families)];
        let double = country == Country::Catalonia;
        let married_name = !double && female && draw.chance(40);
        Self {
            female,
            given: draw.pick(given),
            family,
            second_family: double.then_some(other),
            family_at_birth: if married_name { other } else { family },
            birth: days_after(LAST_DAY, -(years * 365 + draw.between(1, 364))),
            country,
            height_cm,
            weight_hg: index * height_cm.pow(2) / 10_000,
            smoker: years > 16 && draw.chance(22),
            home: Home::draw(draw, country),
        }
    }

    /// Age in whole years on a day.
    pub(crate) fn age_on(&self, day: Date) -> i64 {
        i64::from(day.year() - self.birth.year())
            - i64::from((day.month(), day.day()) < (self.birth.month(), self.birth.day()))
    }

    /// Given and family name.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }
}

/// Body-mass index in tenths, from tenths of a kilogram and centimetres, rounded.
pub(crate) fn body_mass_index(weight_hg: i64, height_cm: i64) -> i64 {
    let square = height_cm.pow(2);
    (weight_hg * 10_000 + square / 2) / square
}

fn height(draw: &mut Draw, years: i64, female: bool) -> i64 {
    let adult = if female { draw.around(148, 180) } else { draw.around(160, 194) };
    if years < 18 { 75 + (adult - 75) * years / 18 } else { adult }
}

impl Home {
    fn draw(draw: &mut Draw, country: Country) -> Self {
        let number = draw.between(1, 180);
        let unit = draw.between(100, 999);
        let line = draw.between(0, 999);
        match country {
            // `ZZ99` is no postcode area, 01632 960 is kept for fiction by Ofcom.
            Country::Scotland => Self {
                street: format!("{number} {}", draw.pick(STREETS_SCOTLAND)),
                town: draw.pick(TOWNS_SCOTLAND),
                postcode: ("ZZ".to_owned(), format!("99 {}ZZ", unit % 10)),
                telephone: format!("01632 960{line:03}"),
            },
            // Dutch postcodes and area codes never begin with two zeros.
            Country::Netherlands => Self {
                street: format!("{} {number}", draw.pick(STREETS_NETHERLANDS)),
                town: draw.pick(TOWNS_NETHERLANDS),
                postcode: (format!("0{unit}"), "ZZ".to_owned()),
                telephone: format!("000-0000{line:03}"),
            },
            // Spanish postcodes end at 52, numbers never begin with zero.
            Country::Catalonia => Self {
                street: format!("{} {number}", draw.pick(STREETS_CATALONIA)),
                town: draw.pick(TOWNS_CATALONIA),
                postcode: ("99".to_owned(), format!("{unit}")),
                telephone: format!("000 000 {line:03}"),
            },
        }
    }

    /// The postcode as people write it there.
    pub(crate) fn postcode(&self) -> String {
        let (area, rest) = &self.postcode;
        if rest == "ZZ" { format!("{area} {rest}") } else { format!("{area}{rest}") }
    }
}

type Names = &'static [&'static str];

fn names(country: Country, female: bool) -> (Names, Names) {
    match (country, female) {
        (Country::Scotland, true) => (GIVEN_SCOTLAND_F, FAMILY_SCOTLAND),
        (Country::Scotland, false) => (GIVEN_SCOTLAND_M, FAMILY_SCOTLAND),
        (Country::Netherlands, true) => (GIVEN_NETHERLANDS_F, FAMILY_NETHERLANDS),
        (Country::Netherlands, false) => (GIVEN_NETHERLANDS_M, FAMILY_NETHERLANDS),
        (Country::Catalonia, true) => (GIVEN_CATALONIA_F, FAMILY_CATALONIA),
        (Country::Catalonia, false) => (GIVEN_CATALONIA_M, FAMILY_CATALONIA),
    }
}

const GIVEN_SCOTLAND_F: Names =
    &["Isla", "Mairi", "Effie", "Kirsty", "Senga", "Una", "Rowan", "Beth"];
const GIVEN_SCOTLAND_M: Names =
    &["Callum", "Ewan", "Hamish", "Rory", "Angus", "Lewis", "Duncan", "Gregor"];
const FAMILY_SCOTLAND: Names = &[
    "Abernethy",
    "Birrell",
    "Carswell",
    "Drummond",
    "Elphinstone",
    "Fenwick",
    "Guthrie",
    "Haldane",
    "Inglis",
    "Jardine",
    "Kilbride",
    "Lockerbie",
    "Menteith",
    "Nairn",
    "O'Hare",
    "Pitcairn",
];
const STREETS_SCOTLAND: Names =
    &["Thistle Row", "Harbour Wynd", "Mill Brae", "Kirk Lane", "Moss Terrace"];
const TOWNS_SCOTLAND: Names = &["Inverleddy", "Strathbogle", "Port Glennan", "Kilmorrow"];

const GIVEN_NETHERLANDS_F: Names =
    &["Anneke", "Tineke", "Liesbeth", "Marijke", "Femke", "Roos", "Jantine", "Wies"];
const GIVEN_NETHERLANDS_M: Names =
    &["Gerrit", "Harm", "Sjoerd", "Wouter", "Bas", "Teun", "Koen", "Maarten"];
const FAMILY_NETHERLANDS: Names = &[
    "Aalbers",
    "Bosveld",
    "Cornelissen",
    "Dijkgraaf",
    "Eikenaar",
    "Geerlings",
    "Hoogland",
    "IJpelaar",
    "Koopmans",
    "Leliveld",
    "Middelkoop",
    "Nieuwpoort",
    "Olthof",
    "Ruiterkamp",
    "Steenhuis",
    "Veldkamp",
];
const STREETS_NETHERLANDS: Names =
    &["Lindelaan", "Molenweg", "Kasteelstraat", "Beekdal", "Korenbloemstraat"];
const TOWNS_NETHERLANDS: Names = &["Oosterveen", "Maasbroek", "Heuvelrade", "Klein Geulen"];

const GIVEN_CATALONIA_F: Names =
    &["Montserrat", "Assumpció", "Remei", "Pilar", "Carme", "Eulàlia", "Dolors", "Inés"];
const GIVEN_CATALONIA_M: Names =
    &["Jordi", "Ramon", "Josep", "Vicenç", "Ignasi", "Anselm", "Tomás", "Lluís"];
const FAMILY_CATALONIA: Names = &[
    "Alsina",
    "Bonastre",
    "Cardona",
    "Domènech",
    "Espriu",
    "Fontcuberta",
    "Girbau",
    "Huguet",
    "Junyent",
    "Llobera",
    "Muntaner",
    "Noguera",
    "Oliveres",
    "Puigdomènech",
    "Rovira",
    "Sanllehí",
];
const STREETS_CATALONIA: Names =
    &["Carrer del Forn", "Passeig de la Font", "Carrer Nou", "Plaça del Pi", "Carrer de l'Om"];
const TOWNS_CATALONIA: Names =
    &["Sant Pau del Vall", "Vilaseca de Mar", "Montroig Alt", "Torrents"];
