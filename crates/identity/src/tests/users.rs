//! Users, staff and departments.

use super::{Centre, HOME, NOW, PASSPHRASE, SEED, doctor, issuer, name};
use crate::{Department, Identity, NewUser, Role, StaffMember, UserError};
use aegle_model::PatientId;
use zeroize::Zeroizing;

const PATIENT: PatientId = PatientId::from_array([9; 16]);

fn patient() -> Role {
    Role::Patient { patient: None }
}

#[test]
fn users_and_departments_are_still_there_after_a_restart() {
    let centre = Centre::new();
    centre.create("hamish", patient()).unwrap();
    centre.create("admin", Role::Administrator).unwrap();
    centre.create("officer", Role::Auditor).unwrap();
    centre.identity.bind_patient("hamish", PATIENT).unwrap();
    let centre = centre.reopened(SEED, NOW);
    let role = |login| centre.identity.user(login).unwrap().role;
    assert_eq!(role("morven"), doctor(&["1"]));
    assert_eq!(role("hamish"), Role::Patient { patient: Some(PATIENT) });
    assert_eq!([role("admin"), role("officer")], [Role::Administrator, Role::Auditor]);
    centre.sign_in("hamish", NOW);
    let departments = centre.identity.departments().unwrap();
    let department = |id, called| Department { id: name(id), name: name(called) };
    assert_eq!(departments, [department("1", "Oncology"), department("2", "Pharmacy")]);
}

#[test]
fn a_user_that_cannot_be_made_says_why_and_leaves_nothing() {
    let centre = Centre::new();
    let long = "x".repeat(201);
    let good = NewUser {
        login: "keir",
        name: "Dr Keir Dunsmore",
        passphrase: PASSPHRASE,
        role: Role::Auditor,
    };
    let cases = [
        (
            NewUser { login: "no spaces", ..good.clone() },
            "a login has 2 to 128 bytes, no spaces and no control characters",
        ),
        (
            NewUser { passphrase: "fourteen signs", ..good.clone() },
            "a pass phrase has 15 to 256 characters; a few words do well",
        ),
        (
            NewUser { name: " ", ..good.clone() },
            "a display name has 1 to 200 bytes and no control characters",
        ),
        (
            NewUser { name: &long, ..good.clone() },
            "a display name has 1 to 200 bytes and no control characters",
        ),
        (
            NewUser { login: "Morven", ..good.clone() },
            "another user has this login; choose another or change that user",
        ),
        (
            NewUser { role: doctor(&[]), ..good.clone() },
            "another user has this staff number; choose another or change that user",
        ),
        (
            NewUser {
                role: Role::Professional {
                    id: name("208"),
                    departments: vec![name("1"), name("9")],
                },
                ..good.clone()
            },
            "this centre has no department `9`; add it first",
        ),
    ];
    for (new, expected) in cases {
        assert_eq!(centre.identity.create_user(&new).unwrap_err().to_string(), expected);
        assert!(matches!(centre.identity.user("keir"), Err(UserError::Unknown)));
    }
    assert_eq!(centre.identity.create_user(&good).unwrap().role, Role::Auditor);
}

#[test]
fn departments_change_at_once_and_all_or_not_at_all() {
    let centre = Centre::new();
    let token = centre.sign_in("morven", NOW).token;
    let role = || centre.identity.verify(&token, NOW).unwrap().role;
    centre.identity.set_departments("morven", &[name("2"), name("1"), name("2")]).unwrap();
    assert_eq!(role(), doctor(&["1", "2"]));
    let error = centre.identity.set_departments("morven", &[name("2"), name("9")]).unwrap_err();
    assert!(matches!(error, UserError::Department(id) if id == name("9")));
    assert_eq!(role(), doctor(&["1", "2"]));
    centre.identity.set_departments("morven", &[]).unwrap();
    assert_eq!(role(), doctor(&[]));
    centre.create("hamish", patient()).unwrap();
    let error = centre.identity.set_departments("hamish", &[]).unwrap_err();
    assert_eq!(error.to_string(), "only a professional has this");
    assert!(matches!(centre.identity.set_departments("nobody", &[]), Err(UserError::Unknown)));
}

#[test]
fn a_patient_is_bound_once_and_to_one_user_only() {
    let centre = Centre::new();
    for login in ["hamish", "effie"] {
        centre.create(login, patient()).unwrap();
    }
    centre.identity.bind_patient("hamish", PATIENT).unwrap();
    centre.identity.bind_patient("hamish", PATIENT).unwrap();
    let other = PatientId::from_array([8; 16]);
    let bind =
        |login, patient| centre.identity.bind_patient(login, patient).unwrap_err().to_string();
    assert_eq!(bind("hamish", other), "this user already stands for another patient");
    assert_eq!(
        bind("effie", PATIENT),
        "another user has this patient; choose another or change that user"
    );
    assert_eq!(bind("morven", other), "only a patient has this");
    assert_eq!(bind("nobody", other), "there is no user with this login");
    let token = centre.sign_in("hamish", NOW).token;
    let role = centre.identity.verify(&token, NOW).unwrap().role;
    assert_eq!(role, Role::Patient { patient: Some(PATIENT) });
}

#[test]
fn the_staff_list_names_professionals_who_may_still_sign_in() {
    let centre = Centre::new();
    centre.create("hamish", patient()).unwrap();
    let second = Role::Professional { id: name("1"), departments: vec![name("2"), name("1")] };
    centre.create("keir", second).unwrap();
    let third = Role::Professional { id: name("31"), departments: Vec::new() };
    centre.create("ailsa", third).unwrap();
    let member = |id, departments: &[&str]| StaffMember {
        id: name(id),
        name: "Dr Morven Galbraith".to_owned(),
        departments: departments.iter().map(|id| name(id)).collect(),
    };
    let all = [member("1", &["1", "2"]), member("207", &["1"]), member("31", &[])];
    assert_eq!(centre.identity.staff().unwrap(), all);
    centre.identity.disable("morven").unwrap();
    assert_eq!(centre.identity.staff().unwrap(), [all[0].clone(), all[2].clone()]);
    assert!(centre.identity.user("morven").unwrap().disabled);
    assert!(matches!(centre.identity.disable("nobody"), Err(UserError::Unknown)));
}

#[test]
fn a_department_can_be_renamed() {
    let centre = Centre::new();
    let renamed = Department { id: name("2"), name: name("Medicines") };
    centre.identity.set_department(&renamed).unwrap();
    assert_eq!(centre.identity.departments().unwrap()[1], renamed);
}

#[test]
fn a_full_gate_makes_no_user() {
    let mut centre = Centre::new();
    centre.identity.hasher = crate::passphrase::Hasher::with(crate::gate::Gate::new(1, 0));
    let _inside = centre.identity.hasher.gate().enter();
    assert!(matches!(centre.create("keir", Role::Auditor), Err(UserError::Busy)));
}

#[cfg(unix)]
#[test]
fn nobody_else_on_the_machine_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let centre = Centre::new();
    centre.identity.sign_in("morven", PASSPHRASE, HOME, NOW).unwrap();
    for file in std::fs::read_dir(centre.folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[test]
fn a_file_that_is_no_database_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let opened =
            Identity::open(&folder.path().join(name), issuer(), &Zeroizing::new(SEED), NOW);
        opened.map(drop).unwrap_err().to_string()
    };
    std::fs::write(folder.path().join("text"), "x".repeat(5000)).unwrap();
    assert_eq!(open("text"), "the users' database is damaged; restore it from a backup");
    let later = rusqlite::Connection::open(folder.path().join("later")).unwrap();
    later.pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(open("later"), "the users' database has format 2; this program reads format 1");
    assert!(open("no/such/folder").contains("no/such/folder"));
}
