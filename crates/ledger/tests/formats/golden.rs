//! The bytes of one fixed value per format, as their SHA-256. A changed hash is a changed format:
//! nodes of two versions would no longer agree. `docs/formats.md` describes every byte.

use super::strategies::REJECTIONS;
use aegle_access::{
    Decision, Effect, Part, Policy, Purpose, Purposes, Request, Rule, Scope, Subject,
};
use aegle_ledger::fixture::{Network, bytes, name, vocabulary};
use aegle_ledger::*;
use aegle_model::*;
use borsh::BorshSerialize;

const CENTRE: CentreId = CentreId::from_array([1; 16]);
const PATIENT: PatientId = PatientId::from_array([2; 16]);
const REQUEST: RequestId = RequestId::from_array([3; 16]);
const NETWORK: NetworkId = NetworkId::from_array([4; 16]);
const TOKENS: [Token; 3] =
    [Token::from_array([5; 16]), Token::from_array([6; 16]), Token::from_array([7; 16])];

fn key() -> RecordKey {
    RecordKey::from_array([9; 32])
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

#[track_caller]
fn golden(value: &impl BorshSerialize, expected: &str) {
    let bytes = borsh::to_vec(value).unwrap();
    let found = Hash::sha256(&[&bytes]).to_string();
    assert_eq!(found, expected, "{} bytes: {bytes:02x?}", bytes.len());
}

fn set(positions: &[usize]) -> Bits {
    positions.iter().copied().collect()
}

fn window() -> Window {
    Window::new(Some(Timestamp(10)), Some(Timestamp(20))).unwrap()
}

fn rule() -> Rule {
    Rule {
        effect: Effect::Deny,
        grantee: TOKENS[0],
        scope: Scope::new(vec![TOKENS[2], TOKENS[1]]).unwrap(),
        window: window(),
        purposes: [Purpose::Treatment, Purpose::Research].into_iter().collect(),
    }
}

fn question() -> Request {
    let cells = vec![set(&[0, 2]), set(&[1])];
    Request {
        subject: Subject::Professional(TOKENS.to_vec()),
        purpose: Purpose::Emergency,
        parts: vec![Part::new(CENTRE, TOKENS.to_vec(), cells).unwrap()],
    }
}

fn opened_request() -> OpenedRequest {
    OpenedRequest {
        network: NETWORK,
        request: REQUEST,
        patient: PATIENT,
        requester: Requester::Professional {
            centre: CENTRE,
            id: name("207"),
            departments: vec![name("1")],
        },
        purpose: Purpose::Emergency,
        reason: Some("unconscious".to_owned()),
        wishes: vec![Wish { centre: CENTRE, tags: vec![name("all")] }],
        recipient: [4; 65],
        asked: Timestamp(1_000),
    }
}

fn header() -> Header {
    let hash = |number: u64| Hash::from_array(bytes(number));
    Header {
        version: Header::VERSION,
        network: NETWORK,
        epoch: 1,
        height: 2,
        parent: hash(3),
        time: Timestamp(4),
        transactions: hash(5),
        heads: hash(6),
        state: hash(7),
        validators: hash(8),
        engine: hash(9),
    }
}

fn certificate() -> Certificate {
    let signatures = vec![Signature::from_array([1; 64]), Signature::from_array([2; 64])];
    Certificate { epoch: 0, view: 300, parent_view: 299, signers: set(&[0, 3]), signatures }
}

fn transaction(body: Body) -> Transaction {
    let key = signer();
    Draft::new(NETWORK, (CENTRE, key.public()), 100, 7, body).sign(&key)
}

fn attestation() -> Attestation {
    Attestation::of_request(&opened_request(), CENTRE, &signer())
}

#[test]
fn words_of_the_model() {
    golden(&set(&[0, 9, 255]), "c9a740484817b5e26d073beda38d1aed8019a49f05c82e7612c3af670ef9b67d");
    golden(
        &[Window::ALWAYS, window()],
        "c30c2223c8b825a0980a10884e3ac2ca248ca5454088d94c9dc2adeae23c1295",
    );
    golden(&name("médication"), "de7d26d8dc8cc3485ca4f4aa888088ff8c08df87f4acdde05f4c3a268f9bd30d");
    golden(&vocabulary(), "4a1f2cd5aef2cedb98e315d8303e7ac420949ea5b3f862e9aed958fd0a72df7f");
    golden(
        &[
            Grantee::Professional { centre: CENTRE, id: name("207") },
            Grantee::Department { centre: CENTRE, id: name("1") },
            Grantee::Organisation { centre: CENTRE },
        ],
        "6a9467961ed7c5783056d9fd439ed0320fe3cdbc0eaa29cf0ea089ca0ed602ce",
    );
    golden(
        &[Requester::Patient, opened_request().requester],
        "9b504036160b81ac806ef8554b67e94b6756857eb10fd9cd2f86f31021e0e301",
    );
}

#[test]
fn hashes_signatures_and_handles() {
    golden(
        &Hash::of("aegle.test", &[b"one", b"two"]),
        "cd9354ee0b6a460d3f9e146e025bdd80919f308ff016c4c59e7e7093311cd4ce",
    );
    golden(
        &signer().sign("aegle.test", b"message"),
        "cc6d61a17df9549099ebad2088e2b54c58344966335e51838d087d2f15e01875",
    );
    golden(
        &Attestation::of_link(NETWORK, (PATIENT, CENTRE, true), CENTRE, &signer()),
        "52f99356d1f1c875d91d46ec207ce14690119bb07f7053475fb163d1c7bd4473",
    );
    golden(&attestation(), "319086513b761ec5f9814c40f5575313202b150561b4c81db443b5bb7e58ec9f");
    let patient = PatientId::from_array(*b"\x9d\x4a\x01pseudonym!!!!");
    assert_eq!(Handle::from(patient).to_string(), "KN50-2W3K-CNTP-6");
}

#[test]
fn tokens_of_every_kind() {
    let (key, tag) = (key(), name("medication"));
    golden(
        &key.grantee(&Grantee::Organisation { centre: CENTRE }),
        "2a114369a108e012bf33070203bada99bcc3d5ef9887967f63043cda93d99764",
    );
    golden(
        &key.tag(CENTRE, &tag),
        "4d5400f9d68cc7772435e9d9a625411f3aeae8665dbb3eda52a2bb3d500c491e",
    );
    golden(
        &key.tag_at(CENTRE, &tag, 3),
        "4fdcc32bdd499860f68ce9d65e2340bd318ffa73c645e66ccc256c1c48ce29d3",
    );
    golden(
        &key.cell_order(REQUEST, CENTRE, 5),
        "694e994653ef620722763ee6aa5c8a22e37e4ed2cc6d4089e9065605614ed967",
    );
    golden(&key.commitment(), "849a9fdcaa4f0a8d4784252605d71bc1e318117603c63edb8459efd51c469709");
}

#[test]
fn rules_and_requests() {
    golden(
        &[Effect::Allow, Effect::Deny],
        "b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2",
    );
    golden(&Purpose::ALL, "054edec1d0211f624fed0cbca9d4f9400b0e491c43742af2c5b0abebf0c990d8");
    golden(
        &[Purposes::ANY, rule().purposes],
        "9f1afa4dc124cba73134e82ff50f17c8f7164257c79fed9a13f5943a6acb8e3d",
    );
    golden(&rule(), "f2af758cdeca40825386dac0056d82386927ea7047b16ae0aefe487ccf5a1583");
    golden(&question(), "c2e8cbf4dcb98cfa0970922cef04d9066404fc5eaacc462e519bf637afed3b2b");
    golden(
        &Request { subject: Subject::Patient, ..question() },
        "e69e0b1305bc95c137bcf47493a37beac18fb5ee463777c1f9ede44779b86287",
    );
}

#[test]
fn opened_rules_and_requests_and_how_they_are_blinded() {
    let scoped = |tag, version| ScopedTag { centre: CENTRE, tag: name(tag), version };
    let rule = OpenedRule {
        effect: Effect::Allow,
        grantee: Grantee::Department { centre: CENTRE, id: name("1") },
        scope: vec![scoped("medication", 1), scoped("treatments", 2)],
        window: window(),
        purposes: Purposes::ANY,
    };
    golden(&rule, "7a3b78c96a90cb2eac034c8a9e8ec515ab298b6b8d60aa97d55beb1d3f4ee0cd");
    golden(
        &rule.blind(&key()).unwrap(),
        "3303c19a5c1a8a8fd076b4fccf933e1c98ce3a8c79f7d3e1087f9870ffd9d948",
    );
    golden(
        &OpenedRule { effect: Effect::Deny, ..rule }.blind(&key()).unwrap(),
        "049d83f5d1156b55ba9354df732468ad2fd3b370f1c07ee5193ef1e93029e4e0",
    );
    let vocabulary = vocabulary();
    golden(&opened_request(), "cac6ba6ac1aa51e4a56c3d157e867f5035aa73f55b1a3ac4301bba1b0981c0bb");
    golden(
        &opened_request().hash(),
        "bb601ee7d64a048ede6b047db9ebfa8fb92140f849cf76f307f052285c9b7f20",
    );
    golden(
        &opened_request().question(&key(), |_| Some(&vocabulary)).unwrap(),
        "fa0dfb7e6a0e166e3e4378d09fa1d298c0c6bdeae900d2af56b1874b4d0c6bfc",
    );
}

#[test]
fn transactions_of_every_kind() {
    let commitment = key().commitment();
    golden(
        &transaction(Body::Publish(Publish { vocabulary: vocabulary() })),
        "3d4d86465d3f33d870b004430923802dd6c1c4236982ec1505edd1f02b7f4021",
    );
    golden(
        &transaction(Body::Enrol(Enrol { patient: PATIENT, commitment })),
        "544024e1cc1dda7687725a7698d7d3a4ecb774e0722e36ec8903a16b88da4a86",
    );
    let by_patient = attestation();
    golden(
        &transaction(Body::Link(Link { patient: PATIENT, speaks: true, commitment, by_patient })),
        "8804f4bbcfa947f6f93b04274144223cadd88e92aa75a0e54c8d69a4eaca4194",
    );
    golden(
        &transaction(Body::Grant(Grant { patient: PATIENT, rule: rule(), sealed: vec![1, 2] })),
        "b5f3bfed7e368a9d663ea2d307ad68f0ef623ad3756b1d493a43d8621228b1c5",
    );
    let rule = RuleId::from_array([6; 16]);
    golden(
        &transaction(Body::Revoke(Revoke { patient: PATIENT, rule })),
        "9afb774731abeddbdbd76c95da81528b630ea28d676d296e20ef3331e96ff6d7",
    );
    golden(
        &transaction(Body::Restore(Restore { patient: PATIENT, height: 5 })),
        "e7dbb63d27187f3c33898dae68218ee905392f7f86eabd688c714b12b2723574",
    );
    golden(&disclosure(), "614a6da86cf09588aa36e87520d4bd2b3d06229ff5c38e7c91b4f7563f3ea093");
    golden(&disclosure().id(), "8b4bd039ee12be57bb246771b19fa07a0b3cbc44f54d1976c5141d29053c2241");
    golden(&late(), "8c05aa47dfdf9b9c0bb5d6d3ed84f885ea0be65f0a34fe00774be64f33a17118");
    let Body::Late(entry) = late().body().clone() else { unreachable!() };
    golden(&entry.link(), "2b9dd29aa911b896dd4a3cd5443a34b7a5bcab666222d3cf1aa5006079ed9b19");
    golden(&delivery(), "6490a7c5ed4aff90295459c0f824a86459a2b70fa44134afb5faee9627fc2cda");
    let centre = Network::new(1).genesis.centres.remove(0);
    let proposals: Vec<_> = changes(centre)
        .into_iter()
        .map(|change| transaction(Body::Propose(Box::new(Propose { change }))))
        .collect();
    golden(&proposals, "fd76a953549bd8026740db03ec33e7d3424110df353b07d9413f4a8bf09d18c2");
    golden(
        &transaction(Body::Vote(Vote { proposal: Hash::ZERO, agree: true })),
        "590904a8a5e9b5f0c49eb2e575de117c125cecf101b9d9e5cb9e01449b67e1a4",
    );
    golden(
        &transaction(Body::Erase(Erase { patient: PATIENT, epoch: 5, commitment: Hash::ZERO })),
        "1ef4ad57acef8a1c146056bc0c31ade6e4301a98b8219b630f4908758c05edec",
    );
}

fn changes(centre: Centre) -> [Amendment; 5] {
    let member = Member { centre, address: "host:1".to_owned() };
    [
        Amendment::Admit(member.clone()),
        Amendment::Remove(CENTRE),
        Amendment::Rotate(member),
        Amendment::Policy(Policy { emergency: true }),
        Amendment::Protocol(Switch { version: 2, height: 300 }),
    ]
}

fn governance_records(centre: Centre) {
    golden(
        &CentreRecord {
            centre: centre.clone(),
            catalogue: Some(7),
            address: "host:1".to_owned(),
            left: Some(8),
        },
        "82bd07b2341a3e28588aab3015ded17874a71ca0765116664435673b45cc7fc4",
    );
    let stages = [
        Stage::Open,
        Stage::Agreed,
        Stage::Done(9),
        Stage::Declined,
        Stage::Withdrawn,
        Stage::Lapsed,
    ];
    let [change, ..] = changes(centre);
    let record = |stage| ProposalRecord {
        change: change.clone(),
        by: CENTRE,
        height: 7,
        agreed: vec![CENTRE],
        against: vec![CENTRE],
        stage,
    };
    golden(&stages.map(record), "e25bbf62b77ddfcdbb1754a4eca9fb22f17f9f5d93b36fc2bf514f6c9b032bcf");
    let ids = |number: u64| vec![Hash::from_array(bytes(number))];
    let (open, agreed, closed) = (ids(1), ids(2), ids(3));
    golden(
        &GovernanceRecord { open, agreed, closed, handovers: vec![4] },
        "d3cb9e99cba7dcf18ffb65be6bb01818fd06788019a5d44710572b185736db8c",
    );
    golden(
        &ValidatorsRecord(vec![signer().public()]),
        "5cc0494d543d2b403ef5ad4b7050553e7e9c88ca73eb9fd6384b2a8894136701",
    );
    golden(
        &[keys::governance(), keys::proposal(&Hash::ZERO), keys::validators(4)],
        "03f8b3b1b23d2fadfe8b510c67cd6086b33f64c131e0741a4e2bb2940b762003",
    );
}

fn disclosure() -> Transaction {
    transaction(Body::Disclose(Box::new(Disclose {
        request: REQUEST,
        patient: PATIENT,
        requester: attestation(),
        opened: opened_request().hash(),
        sealed: vec![1, 2, 3],
        question: question(),
        catalogues: vec![1],
    })))
}

fn late() -> Transaction {
    let Body::Disclose(disclose) = disclosure().body().clone() else { unreachable!() };
    let (at, previous) = (Timestamp(1_000), Hash::ZERO);
    transaction(Body::Late(Box::new(Late { disclose: *disclose, at, number: 3, previous })))
}

fn delivery() -> Transaction {
    let steps = [Step::Structured, Step::Curated, Step::Consumer, Step::Delivered, Step::Cleaned];
    let steps = steps.into_iter().map(|step| step as usize).collect();
    let delivered = Delivered { content: Hash::ZERO, rows: 50, columns: 7, steps };
    let missing = [Missing::Unreachable, Missing::Failed, Missing::Refused, Missing::Interrupted];
    let results = missing.into_iter().map(Err).chain([Ok(delivered)]);
    let parts = results.map(|result| PartDelivery { centre: CENTRE, result }).collect();
    transaction(Body::Deliver(Deliver { request: REQUEST, parts }))
}

#[test]
fn outcomes_of_every_kind() {
    golden(&Outcome::Done, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    golden(
        &Outcome::Decided(Decision { granted: vec![set(&[1]), Bits::EMPTY] }),
        "dc6db86ed3a747a3412268ad45ca29a08460c51dd146e5ae3a9f1656d78b97d1",
    );
    golden(
        &REJECTIONS.map(Outcome::Rejected),
        "ae1957dcda17f083c1e220af98c3b7dea8ed30ddbb070717f3b96b131eb5e025",
    );
}

#[test]
fn headers_blocks_and_votes() {
    golden(&header(), "4c8b44675c5a6879fd959187760747c5b19769c429fb00b98413fadb286b7b9d");
    golden(&header().digest(), "0f1b34088dc6c96db4f8c2296ad063d55f1a48fd5c0e4597647ac950d97c21c3");
    let entries = vec![(disclosure(), Outcome::Done)];
    golden(
        &Block { header: header(), entries, engine: vec![1, 2] },
        "ae2d4dd49ffa2b38eb22b42b6c0d277cae0d8f6aa492f95bd74bb333de8fd5fd",
    );
    golden(
        &Block::engine_hash(&[1, 2]),
        "c52af0c1c8c77adf5a6c0bfd0b2b5cc184718138243ad1c4250538674b0b9209",
    );
    golden(&certificate(), "49303d93a2cb781ffc914e6da6f5c5b4298d6a68daa30e247525647c39d5ee32");
    golden(
        &certificate().vote(NETWORK, &header().digest()),
        "b053cc6d90a5464dc3f38b7d6d313f5d2ba0896eb6fd85e6be5c1a1d5be4f266",
    );
}

#[test]
fn genesis_and_what_follows_from_it() {
    let genesis = Network::new(4).genesis;
    golden(&genesis, "76d810bf3ff9e1e078ca715420624ece1d0a102de68aec5c0ab8099fd77b47b2");
    golden(&genesis.hash(), "4468cfb3a69201335ee818def7bf01b5a81dd369e67e78323437ea1bf5e46d1c");
    golden(&genesis.network(), "2a4369a3757cb93b18277f2100d7b5245c23ccdb5f36552f6e4fcdb111f5a2b6");
    golden(
        &genesis_header(&genesis),
        "cd34a2ebed252b72de168ca87e890fcb6f43879c02fc2ff6ab1f6f8ae508daae",
    );
    golden(
        &genesis_state(&genesis),
        "db4e53c6a76edb621bb4e76228598613283bd192b7aba5c8be9d32cb7650a2d5",
    );
}

#[test]
fn proofs() {
    let (header, certificate) = (header(), certificate());
    let validators = vec![signer().public()];
    let handover =
        Handover { header: header.clone(), certificate: certificate.clone(), validators };
    golden(&handover, "86f9f427264b3c9d3b86332d4331672cf74204c310a5708ee999cd423666c2d4");
    let links = vec![header.clone()];
    let anchor = Anchor { handovers: vec![handover], header, links, certificate };
    golden(&anchor, "64f9eda6bca65d4b5ee560d509cd522fe11cad088255d461260606c95a3e0a54");
    let proof = InclusionProof { index: 1, size: 2, path: vec![Hash::ZERO] };
    let (transaction, outcome) = (disclosure(), Outcome::Done);
    golden(
        &Receipt {
            anchor: anchor.clone(),
            transaction: transaction.clone(),
            outcome: outcome.clone(),
            proof,
        },
        "b49a026784c6abba043957f106c4708e7cb8a0d474d05ba5667823844573096c",
    );
    let entry = LogEntry { height: 5, time: Timestamp(6), transaction, outcome };
    let head = HeadProof { index: 0, patients: 1, siblings: vec![Hash::ZERO; 4] };
    golden(
        &PatientLog { patient: PATIENT, entries: vec![entry], head, anchor },
        "82dc65e09e57bcd033d2c8de85745921513c3530280450237ecec091f27e1aa1",
    );
}

#[test]
fn segments_of_a_backup() {
    let block =
        Block { header: header(), entries: vec![(disclosure(), Outcome::Done)], engine: vec![1] };
    let blocks = [Some(certificate()), None]
        .map(|certificate| CertifiedBlock { block: block.clone(), certificate });
    golden(
        &write_segment(blocks.to_vec()).unwrap(),
        "ef53abab32894a2d0310c1e52799756dd84468592a5f4d30f9b26340b44ec412",
    );
}

#[test]
fn records_and_keys_of_the_state() {
    let centre = Network::new(1).genesis.centres.remove(0);
    let links = vec![Linked { centre: CENTRE, speaks: true }];
    let commitment = key().commitment();
    let head = Hash::ZERO;
    golden(
        &PatientRecord { index: 1, commitment, links, pages: 2, rules: 3, entries: 4, head },
        "5d94166855c873abf74d4b2690186d3817abc773e8533291ca76e7c70bb6f5e0",
    );
    let id = RuleId::from_array([6; 16]);
    let at = |height| Position { height, index: 1 };
    let change = |height| Change { at: at(height), time: Timestamp(3), by: CENTRE };
    let kept = KeptRule { id, rule: rule(), granted: change(4), revoked: vec![change(5)] };
    golden(
        &RulePage(vec![kept]),
        "49fbde56a1c3b2244047dc96f7e621834e9b9b999209771a7adebd9d7bc883c6",
    );
    golden(
        &Returns(vec![Return { change: change(6), to: 4 }]),
        "5fd3dd1967d86da5e0d21eed7c5348b54682ad99bd55a2f357b65efca0281450",
    );
    let (patient, granted, sealed) = (PATIENT, Hash::ZERO, vec![1]);
    golden(
        &RuleRecord { patient, page: 1, granted, sealed },
        "c8e67d540b1a1e8d123deff8bc9f481a4ac7271d2ea7cfd09cc28e2cc7a2680d",
    );
    let parts = [Fate::Open, Fate::NotReceived, Fate::Known].map(|fate| (CENTRE, fate)).to_vec();
    let (transaction, requester) = (Hash::ZERO, CENTRE);
    golden(
        &DisclosureRecord { patient, transaction, requester, parts },
        "48471eb89e49f551fedb149a6a966199f7d17fc861fb9aff10fa37f290912bde",
    );
    golden(
        &Position { height: 1, index: 2 },
        "a890adf674b36ba6672153a29917fca03c90d99f9788cd5764a1c59a66821124",
    );
    let keys = [
        keys::network(),
        keys::centre(CENTRE),
        keys::patient(PATIENT),
        keys::handle(PATIENT.into()),
        keys::rules(PATIENT, 1),
        keys::rule(id),
        keys::disclosure(REQUEST),
        keys::transaction(&Hash::ZERO),
        keys::entry(PATIENT, 1),
    ];
    golden(&keys, "ed89665c463d3845408bebfe8ce5a3171e655b01b8dc4dd5f62419cc3c91b574");
    governance_records(centre);
    golden(
        &keys::vocabulary(CENTRE),
        "f4dd57aaa68705f1bc3898fdb92a0aa95b8cb18cba851e96251f4c755fb40123",
    );
    let change = change_id(PATIENT, 7);
    golden(&rule_id(&change), "990fef9351a0120ea536dd414b6c8def899f394f6d18546f04df6bbfbfe5314e");
    golden(
        &[change, Hash::from_array(keys::change(&change))],
        "06d77cc7257714c6a85d04137018d156c4c13e054805347c51e2b49804bb6b33",
    );
    golden(
        &keys::returns(PATIENT),
        "28f6db366ef4d0bf59c486ba414aeaca384389d0f06e2986b8d6207878218774",
    );
    golden(
        &keys::head_path(17, 300),
        "2b389b85a81e8fb2e3c0830ff16d92101ed7a5f8e2e36919d7d68d73f5f1eae6",
    );
}

/// Binds what only shows in commitments: leaves, the tree of heads, the entry chain, the state.
#[test]
fn commitments_of_a_short_history() {
    let mut network = Network::new(4).with_patient(0, PATIENT, &key());
    for number in 10..30 {
        let (patient, commitment) = (PatientId::from_array(bytes(number)), key().commitment());
        network.submit(0, Body::Enrol(Enrol { patient, commitment }));
    }
    network.submit(0, Body::Grant(Grant { patient: PATIENT, rule: rule(), sealed: vec![1] }));
    golden(network.tip(), "65a061ebf2d5878ee6b90ca594346db19c2e3880cb2b5ef88646ed4262f16943");
    golden(
        &network.log(PATIENT),
        "2956104a7fa5bcca008dd826b45204072f15f58e4e7b2c309c0ea029d3382ee7",
    );
    network.log(PATIENT).verify(&network.genesis).unwrap();
}

/// The vectors of the reference implementation of RFC 6962 (Certificate Transparency).
#[test]
fn block_trees_are_those_of_rfc_6962() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"@ABC",
        b"PQRSTUVW",
        b"`abcdefghijklmno",
    ];
    let leaves = leaves.map(<[u8]>::to_vec);
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, root) in (1..).zip(roots) {
        assert_eq!(merkle_root(&leaves[..size]).to_string(), root);
    }
}
