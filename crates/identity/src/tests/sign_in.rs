//! Signing in: one answer, one amount of work, patience with people and none with guessers.

use super::{Centre, HOME, NOW, PASSPHRASE, SEED, doctor, later};
use crate::gate::Gate;
use crate::passphrase::Hasher;
use crate::{ACCESS_LIFE_S, Role, SignInError};
use std::net::IpAddr;
use std::thread;

/// What a guess at `login` got, in short.
fn short(error: &SignInError) -> String {
    match error {
        SignInError::Refused => "refused".to_owned(),
        SignInError::Throttled { retry_after_s } => format!("wait {retry_after_s}"),
        SignInError::Busy => "busy".to_owned(),
        SignInError::Store(error) => panic!("{error}"),
    }
}

#[test]
fn a_user_gets_a_token_that_opens_a_session() {
    let centre = Centre::new();
    let signed_in = centre.sign_in(" MORVEN ", NOW);
    assert_eq!(signed_in.expires, later(ACCESS_LIFE_S));
    let session = centre.identity.verify(&signed_in.token, NOW).unwrap();
    assert_eq!(session.user, signed_in.user.id);
    assert_eq!(session.role, doctor(&["1"]));
    assert_eq!(session.expires, signed_in.expires);
}

#[test]
fn unknown_disabled_and_mistaken_get_the_same_answer_after_the_same_work() {
    let centre = Centre::new();
    centre.create("gone", Role::Auditor).unwrap();
    centre.identity.disable("gone").unwrap();
    let attempts =
        [("nobody", PASSPHRASE), ("morven", "not the right pass phrase"), ("gone", PASSPHRASE)];
    for (login, passphrase) in attempts {
        let before = centre.hashes();
        let error = centre.identity.sign_in(login, passphrase, HOME, NOW).unwrap_err();
        assert_eq!(error.to_string(), "login or pass phrase is wrong", "{login}");
        assert_eq!(centre.hashes() - before, 1, "{login}");
    }
}

#[test]
fn what_cannot_be_a_login_or_a_pass_phrase_is_refused_without_work() {
    let centre = Centre::new();
    let before = centre.hashes();
    let long = "a".repeat(1_000_000);
    for (login, passphrase) in
        [("", PASSPHRASE), ("morven", "short"), (&long, PASSPHRASE), ("morven", &long)]
    {
        let error = centre.identity.sign_in(login, passphrase, HOME, NOW).unwrap_err();
        assert_eq!(short(&error), "refused");
    }
    assert_eq!(centre.hashes(), before);
}

#[test]
fn guessing_at_an_account_gets_slower_whether_it_exists_or_not() {
    let centre = Centre::new();
    for login in ["morven", "nobody"] {
        let before = centre.hashes();
        let answers: Vec<String> = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 3]
            .map(|second| short(&centre.guess(login, later(second))))
            .into();
        let [refused, one, two] = ["refused", "wait 1", "wait 2"].map(str::to_owned);
        let r = || refused.clone();
        assert_eq!(
            answers,
            [r(), r(), r(), r(), r(), one.clone(), r(), two, one, r(), "wait 4".to_owned()]
        );
        assert_eq!(centre.hashes() - before, 7, "whoever waits costs no work");
    }
}

#[test]
fn the_right_pass_phrase_waits_like_the_others_and_then_clears_the_account() {
    let centre = Centre::new();
    for _ in 0..5 {
        centre.guess("morven", NOW);
    }
    let early = centre.identity.sign_in("morven", PASSPHRASE, HOME, NOW).unwrap_err();
    assert_eq!(short(&early), "wait 1");
    centre.sign_in("morven", later(1));
    assert_eq!(short(&centre.guess("morven", later(1))), "refused");
}

#[test]
fn a_restart_forgives_no_account() {
    let centre = Centre::new();
    for login in ["morven", "nobody"] {
        for _ in 0..5 {
            centre.guess(login, NOW);
        }
    }
    let centre = centre.reopened(SEED, NOW);
    assert_eq!(short(&centre.guess("morven", NOW)), "wait 1");
    assert_eq!(short(&centre.guess("nobody", NOW)), "wait 1");
}

#[test]
fn guessing_at_many_accounts_from_one_address_gets_slower() {
    let centre = Centre::new();
    for _ in 0..49 {
        centre.identity.addresses.attempt(HOME, NOW).unwrap();
    }
    assert_eq!(short(&centre.guess("nobody", NOW)), "refused");
    let before = centre.hashes();
    assert_eq!(short(&centre.guess("morven", NOW)), "wait 1");
    assert_eq!(centre.hashes(), before);
    let elsewhere = IpAddr::from([198, 51, 100, 9]);
    assert!(centre.identity.sign_in("morven", PASSPHRASE, elsewhere, NOW).is_ok());
}

#[test]
fn a_success_takes_one_attempt_back_from_an_address_and_no_more() {
    let centre = Centre::new();
    for _ in 0..48 {
        centre.identity.addresses.attempt(HOME, NOW).unwrap();
    }
    centre.sign_in("morven", NOW);
    centre.sign_in("morven", NOW);
    assert_eq!(short(&centre.guess("nobody", NOW)), "refused");
    assert_eq!(short(&centre.guess("nobody", NOW)), "refused");
    assert_eq!(short(&centre.guess("nobody", NOW)), "wait 1");
}

#[test]
fn an_account_that_waits_does_not_use_up_the_address() {
    let centre = Centre::new();
    for _ in 0..100 {
        centre.guess("nobody", NOW);
    }
    centre.sign_in("morven", NOW);
}

#[test]
fn guesses_at_the_same_time_all_count() {
    let centre = Centre::new();
    let answers: Vec<String> = thread::scope(|scope| {
        let guess = || short(&centre.guess("morven", NOW));
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(guess)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |answer: &str| answers.iter().filter(|found| *found == answer).count();
    assert_eq!([count("refused"), count("wait 1")], [5, 11]);
}

#[test]
fn a_flood_is_sent_away_and_counts_against_nobody() {
    let mut centre = Centre::new();
    centre.identity.hasher = Hasher::with(Gate::new(1, 0));
    let inside = centre.identity.hasher.gate().enter();
    for _ in 0..60 {
        let error = centre.identity.sign_in("morven", PASSPHRASE, HOME, NOW).unwrap_err();
        assert_eq!(short(&error), "busy");
    }
    drop(inside);
    assert_eq!(centre.hashes(), 0);
    centre.sign_in("morven", NOW);
}

#[test]
fn logins_that_nobody_has_cannot_fill_the_disk_nor_push_users_out() {
    let centre = Centre::new();
    for _ in 0..5 {
        centre.guess("morven", NOW);
    }
    centre
        .identity
        .store
        .transact::<_, crate::StoreError>(|transaction| {
            let mut insert = transaction.prepare("INSERT INTO attempts VALUES (?1, 0, 1, ?2)")?;
            for number in 0..10_500_u64 {
                insert.execute(rusqlite::params![number.to_be_bytes(), NOW.0 + number])?;
            }
            Ok(())
        })
        .unwrap();
    centre.guess("nobody", later(60));
    let left: u64 = centre
        .identity
        .store
        .read(|transaction| {
            transaction.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))
        })
        .unwrap();
    assert_eq!(left, 10_001);
    assert_eq!(short(&centre.guess("morven", NOW)), "wait 1");
}

#[test]
fn nothing_that_is_printed_tells_a_secret_or_a_name() {
    let centre = Centre::new();
    let signed_in = centre.sign_in("morven", NOW);
    let session = centre.identity.verify(&signed_in.token, NOW).unwrap();
    let error = centre.guess("morven", NOW);
    let printed = format!("{signed_in:?} {session:?} {error:?} {error} {:?}", signed_in.user.login);
    for secret in [signed_in.token.as_str(), PASSPHRASE, "morven", "Morven", "Galbraith"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn the_database_holds_neither_pass_phrases_nor_tokens_nor_mistyped_logins() {
    let centre = Centre::new();
    let token = centre.sign_in("morven", NOW).token;
    centre.identity.sign_in("my-secret-in-the-wrong-field", PASSPHRASE, HOME, NOW).unwrap_err();
    let files = std::fs::read_dir(centre.folder.path()).unwrap();
    let bytes: Vec<u8> =
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("morven") && holds("$argon2id$"));
    for secret in [
        PASSPHRASE,
        "my-secret-in-the-wrong-field",
        token.as_str(),
        token.rsplit('.').next().unwrap(),
    ] {
        assert!(!holds(secret), "{secret}");
    }
}
