//! Four centres, their catalogues and patients, and the disclosures that are asked for.
//!
//! A disclosure is as in practice: a doctor with one department and an organisation (3 subjects),
//! everything at two centres (12 tags, 25 cells), two rules of the patient.

use super::NODES;
use aegle_access::{Effect, Policy, Purpose, Purposes};
use aegle_ledger::{
    Attestation, Body, Centre, Disclose, Draft, Enrol, Epochs, Genesis, Grant, Link, OpenedRequest,
    OpenedRule, Publish, ScopedTag, Transaction, Wish,
};
use aegle_model::{
    ALL, Canonical, Cell, CentreId, Grantee, Hash, Name, PatientId, RecordKey, RequestId,
    Requester, SigningKey, Tag, TagName, Timestamp, Vocabulary, Window,
};
use std::collections::BTreeMap;

/// What AES-256-GCM adds to a sealed text: nonce and tag.
const SEALING_BYTES: usize = 12 + 16;
/// Tags and cells of each centre; every patient is at one of the first two and one of the others.
const SHAPES: [(u8, u8); NODES] = [(6, 13), (6, 13), (6, 12), (6, 12)];

/// A signed transaction, and at which node it is submitted.
pub(super) struct Outgoing {
    pub(super) node: usize,
    pub(super) transaction: Transaction,
}

/// All that the client knows.
pub(super) struct World {
    pub(super) genesis: Genesis,
    keys: Vec<SigningKey>,
    vocabularies: Vec<Vocabulary>,
    patients: u32,
}

/// The centres' keys, in the order of the genesis.
pub(super) fn keys() -> Vec<SigningKey> {
    let mut keys: Vec<_> = (1..).take(NODES).map(|s| SigningKey::from_seed(&[s; 32])).collect();
    keys.sort_by_key(SigningKey::public);
    keys
}

/// The network of these centres.
pub(super) fn genesis(keys: &[SigningKey]) -> Genesis {
    let centres = keys.iter().enumerate().map(|(number, key)| Centre {
        id: Centre::id_of(&key.public()),
        code: name(&format!("C{number}")),
        key: key.public(),
        tls: Hash::ZERO,
        seal: [4; 65],
    });
    Genesis {
        name: name("bench"),
        time: Timestamp(0),
        policy: Policy { emergency: true },
        epochs: Epochs::DEFAULT,
        centres: centres.collect(),
    }
}

impl World {
    pub(super) fn new(patients: u32) -> Self {
        let keys = keys();
        let vocabularies = SHAPES.iter().map(|(tags, cells)| vocabulary(*tags, *cells)).collect();
        Self { genesis: genesis(&keys), keys, vocabularies, patients }
    }

    /// What comes before the first disclosure, in stages that must be final one after the other.
    pub(super) fn beginning(&self) -> [Vec<Outgoing>; 4] {
        let publish = |(centre, known): (usize, &Vocabulary)| {
            self.outgoing(centre, 0, 10_000, Body::Publish(Publish { vocabulary: known.clone() }))
        };
        let each = |body: fn(&Self, u32) -> (usize, Body)| -> Vec<Outgoing> {
            let sign = |patient| {
                let (centre, body) = body(self, patient);
                self.outgoing(centre, u64::from(patient), 10_000, body)
            };
            (0..self.patients).map(sign).collect()
        };
        let rules = [Effect::Allow, Effect::Deny].into_iter().flat_map(|effect| {
            (0..self.patients).map(move |patient| {
                let (centre, body) = self.grant(patient, effect);
                self.outgoing(centre, u64::from(patient), 10_000, body)
            })
        });
        [
            self.vocabularies.iter().enumerate().map(publish).collect(),
            each(|_, patient| enrol(patient)),
            each(Self::link),
            rules.collect(),
        ]
    }

    /// The disclosure with this number, to be final before `expires`.
    pub(super) fn disclosure(&self, number: u64, expires: u64) -> Outgoing {
        let patient = u32::try_from(number % u64::from(self.patients)).expect("a remainder of u32");
        let [guardian, _] = homes(patient);
        let doctor = (guardian + 1) % NODES;
        let opened = self.opened(patient, doctor, number);
        let published = |centre| {
            let place = self.genesis.centres.iter().position(|one| one.id == centre)?;
            self.vocabularies.get(place)
        };
        let (question, catalogues) =
            opened.question(&record_key(patient), published).expect("the tags are known");
        let requester = Attestation::of_request(&opened, self.id(doctor), &self.keys[doctor]);
        let disclose = Disclose {
            request: opened.request,
            patient: opened.patient,
            requester,
            opened: opened.hash(),
            sealed: vec![0; SEALING_BYTES + opened.to_bytes().len()],
            question,
            catalogues,
        };
        self.outgoing(guardian, number, expires, Body::Disclose(Box::new(disclose)))
    }

    fn opened(&self, patient: u32, doctor: usize, number: u64) -> OpenedRequest {
        let mut homes = homes(patient).map(|home| self.id(home));
        homes.sort();
        OpenedRequest {
            network: self.genesis.network(),
            request: RequestId::from_array(id("request", number)),
            patient: pseudonym(patient),
            requester: Requester::Professional {
                centre: self.id(doctor),
                id: name("207"),
                departments: vec![name("1")],
            },
            purpose: Purpose::Treatment,
            reason: None,
            wishes: homes.map(|centre| Wish { centre, tags: vec![name(ALL)] }).to_vec(),
            recipient: [4; 65],
            asked: Timestamp(1_000),
        }
    }

    fn link(&self, patient: u32) -> (usize, Body) {
        let [first, second] = homes(patient);
        let by_patient = Attestation::of_link(
            self.genesis.network(),
            (pseudonym(patient), self.id(second), false),
            self.id(first),
            &self.keys[first],
        );
        let commitment = record_key(patient).commitment();
        let link = Link { patient: pseudonym(patient), speaks: false, commitment, by_patient };
        (second, Body::Link(link))
    }

    /// The department sees everything but one tag.
    fn grant(&self, patient: u32, effect: Effect) -> (usize, Body) {
        let home = homes(patient)[0];
        let centre = self.id((home + 1) % NODES);
        let (grantee, tag) = match effect {
            Effect::Allow => (Grantee::Department { centre, id: name("1") }, name(ALL)),
            Effect::Deny => (Grantee::Professional { centre, id: name("207") }, name("tag01")),
        };
        let scoped = |home| ScopedTag { centre: self.id(home), tag: tag.clone(), version: 1 };
        let rule = OpenedRule {
            effect,
            grantee,
            scope: homes(patient).map(scoped).to_vec(),
            window: Window::ALWAYS,
            purposes: Purposes::ANY,
        };
        let sealed = vec![0; SEALING_BYTES + rule.to_bytes().len()];
        let rule = rule.blind(&record_key(patient)).expect("two tags are a scope");
        (home, Body::Grant(Grant { patient: pseudonym(patient), rule, sealed }))
    }

    fn outgoing(&self, centre: usize, nonce: u64, expires: u64, body: Body) -> Outgoing {
        let key = &self.keys[centre];
        let author = (self.id(centre), key.public());
        let draft = Draft::new(self.genesis.network(), author, expires, nonce, body);
        Outgoing { node: centre, transaction: draft.sign(key) }
    }

    fn id(&self, centre: usize) -> CentreId {
        self.genesis.centres[centre].id
    }
}

fn enrol(patient: u32) -> (usize, Body) {
    let commitment = record_key(patient).commitment();
    (homes(patient)[0], Body::Enrol(Enrol { patient: pseudonym(patient), commitment }))
}

/// The guardian and the second centre with data.
fn homes(patient: u32) -> [usize; 2] {
    let first = patient as usize % NODES;
    [first, (first + NODES / 2) % NODES]
}

fn pseudonym(patient: u32) -> PatientId {
    PatientId::from_array(id("patient", u64::from(patient)))
}

fn record_key(patient: u32) -> RecordKey {
    RecordKey::from_array(*Hash::of("bench.key", &[&patient.to_le_bytes()]).as_bytes())
}

fn id(kind: &str, number: u64) -> [u8; 16] {
    let hash = Hash::of(kind, &[&number.to_le_bytes()]);
    hash.as_bytes()[..16].try_into().expect("32 bytes hold 16")
}

/// Bits that differ from cell to cell say which tags it carries besides `all`.
fn vocabulary(tags: u8, cells: u8) -> Vocabulary {
    let names: Vec<TagName> = (1..tags).map(|tag| name(&format!("tag{tag:02}"))).collect();
    let cell = |number: u8| {
        let carried =
            names.iter().zip(0..).filter(|(_, bit)| ((u32::from(number) * 83) >> bit) & 1 == 1);
        let carried = carried.map(|(tag, _)| (tag.clone(), 1));
        Cell { tags: carried.chain([(name(ALL), 1)]).collect() }
    };
    let mut cells: Vec<_> = (1..=cells).map(cell).collect();
    cells.sort();
    let tag = |tag: &TagName| Tag { name: tag.clone(), labels: BTreeMap::new() };
    let tags = [name(ALL)].iter().chain(&names).map(tag).collect();
    Vocabulary { version: 1, catalogue: Hash::ZERO, tags, cells }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a short constant")
}
