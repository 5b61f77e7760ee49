//! Who works at the four centres. None of them exists.

/// One staff member of a centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staff {
    /// The centre's own staff number.
    pub id: String,
    /// The person's name.
    pub name: String,
    /// Number and name of every department the person belongs to.
    pub departments: Vec<(String, String)>,
}

/// Number, name, departments.
pub(crate) type Member = (&'static str, &'static str, &'static [Department]);
/// Number, name.
pub(crate) type Department = (&'static str, &'static str);

const ONCOLOGY: Department = ("1", "Oncology");
const PHARMACY: Department = ("2", "Pharmacy");
const EMERGENCY: Department = ("4", "Emergency");

/// The cancer centre. The doctor `207` of department `1` is the one of the demonstration.
pub(crate) const USTAN: &[Member] = &[
    ("207", "Dr Morven Galbraith", &[ONCOLOGY]),
    ("208", "Dr Keir Dunsmore", &[ONCOLOGY, EMERGENCY]),
    ("214", "Ailsa Pennycook", &[ONCOLOGY]),
    ("231", "Struan Heriot", &[PHARMACY]),
    ("250", "Dr Catriona Muirfield", &[EMERGENCY]),
];

const ORTHOPAEDICS: Department = ("1", "Orthopedie");
const SURGERY: Department = ("2", "Chirurgie");
const PHYSIOTHERAPY: Department = ("3", "Fysiotherapie");
const CARDIOLOGY: Department = ("5", "Cardiologie");

/// The hip clinic.
pub(crate) const ZMC: &[Member] = &[
    ("1104", "dr. Willemijn Oosterhof", &[ORTHOPAEDICS, SURGERY]),
    ("1107", "dr. Joris Terpstra", &[ORTHOPAEDICS]),
    ("1131", "Fenna Kloosterman", &[PHYSIOTHERAPY]),
    ("1132", "Ruben Haverkamp", &[PHYSIOTHERAPY]),
    ("1150", "dr. Sanne Brinkhorst", &[CARDIOLOGY]),
];

const ENDOCRINOLOGY: Department = ("1", "Endocrinología");
const CARDIOLOGIA: Department = ("2", "Cardiología");
const ONCOLOGIA: Department = ("3", "Oncología");
const URGENCIAS: Department = ("4", "Urgencias");

/// Chronic care at home.
pub(crate) const FCRB: &[Member] = &[
    ("500311", "Dra. Nuria Falgueras", &[ENDOCRINOLOGY]),
    ("500312", "Dr. Oriol Castellví", &[ENDOCRINOLOGY]),
    ("500340", "Dra. Itziar Montalbán", &[CARDIOLOGIA]),
    ("500355", "Dr. Bernat Roselló", &[ONCOLOGIA]),
    ("500377", "Dra. Leocadia Pinós", &[URGENCIAS, CARDIOLOGIA]),
];

const GENERAL_PRACTICE: Department = ("1", "General practice");
const NURSING: Department = ("2", "Practice nursing");

/// The small practice. Its department `1` and its nurse number `1` must never be taken for
/// department `1` of another centre.
pub(crate) const KHM: &[Member] = &[
    ("12", "Dr Rhona Calder", &[GENERAL_PRACTICE]),
    ("14", "Dr Fergus Ballantyne", &[GENERAL_PRACTICE]),
    ("1", "Elspeth Kinnear", &[NURSING]),
];

impl From<&Member> for Staff {
    fn from((id, name, departments): &Member) -> Self {
        let owned = |(id, name): &Department| ((*id).to_owned(), (*name).to_owned());
        Self {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            departments: departments.iter().map(owned).collect(),
        }
    }
}
