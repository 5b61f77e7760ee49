//! Tokens: what is good, and everything that is not.

use super::{Centre, NOW, SEED, issuer, later};
use crate::{ACCESS_LIFE_S, AUDIENCE, Identity, Issuer, Role, TokenError};
use aegle_model::{CentreId, Timestamp};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

fn pair(seed: [u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Header and claims of a token.
fn decode(token: &str) -> [Value; 2] {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    [part(parts[0]), part(parts[1])]
}

/// A token made by hand, signed by `sign`.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn signed(header: &Value, claims: &Value) -> String {
    token(header, claims, |message| pair(SEED).sign(message).as_ref().to_vec())
}

/// A good token's header and claims, to be spoilt.
fn good(centre: &Centre) -> [Value; 2] {
    decode(&centre.sign_in("morven", NOW).token)
}

/// The reason why `token` is refused, or "good".
fn verdict(identity: &Identity, token: &str, now: Timestamp) -> String {
    match identity.verify(token, now) {
        Ok(_) => "good".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// A change of `header` or `claims`; `null` takes a member away.
fn change(value: &Value, member: &str, to: Value) -> Value {
    let mut changed = value.clone();
    let members = changed.as_object_mut().unwrap();
    if to.is_null() {
        members.remove(member)
    } else {
        members.insert(member.to_owned(), to)
    };
    changed
}

#[test]
fn a_token_says_who_for_whom_by_whom_until_when_and_nothing_personal() {
    let centre = Centre::new();
    let signed_in = centre.sign_in("morven", NOW);
    let [header, claims] = decode(&signed_in.token);
    let now_s = NOW.0 / 1000;
    let keys = centre.identity.jwks(NOW);
    assert_eq!(header, json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": keys["keys"][0]["kid"] }));
    let expected = json!({
        "iss": "https://ustan.example#03030303030303030303030303030303",
        "aud": "aegle",
        "sub": signed_in.user.id.to_string(),
        "iat": now_s, "nbf": now_s, "exp": now_s + ACCESS_LIFE_S,
        "jti": claims["jti"], "role": "professional",
    });
    assert_eq!(claims, expected);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
    assert_ne!(claims["jti"], good(&centre)[1]["jti"]);
}

#[test]
fn a_token_is_good_until_it_expires() {
    let centre = Centre::new();
    let token = centre.sign_in("morven", NOW).token;
    let verdict = |now: Timestamp| verdict(&centre.identity, &token, now);
    let instants = [
        later(0),
        later(ACCESS_LIFE_S - 1),
        Timestamp(later(ACCESS_LIFE_S).0 - 1),
        later(ACCESS_LIFE_S),
    ];
    assert_eq!(instants.map(verdict), ["good", "good", "good", "Expired"]);
    let skewed = [5, 6].map(|seconds| verdict(Timestamp(NOW.0 - seconds * 1000)));
    assert_eq!(skewed, ["good", "Early"]);
}

#[test]
fn a_token_made_by_hand_in_the_right_way_is_good() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    assert_eq!(verdict(&centre.identity, &signed(&header, &claims), NOW), "good");
}

#[test]
fn every_claim_is_needed_and_must_be_ours() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    let gone = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "role"]
        .map(|claim| (claim, Value::Null, "Malformed"));
    let odd = [
        ("iss", json!("https://ustan.example"), "Issuer"),
        ("iss", json!("https://ustan.example#04040404040404040404040404040404"), "Issuer"),
        ("iss", json!([claims["iss"], "https://other.example"]), "Malformed"),
        ("aud", json!("elsewhere"), "Audience"),
        ("aud", json!([AUDIENCE, "elsewhere"]), "Malformed"),
        ("sub", json!("morven"), "Malformed"),
        ("sub", json!("00000000000000000000000000000000"), "User"),
        ("exp", json!(NOW.0 / 1000), "Expired"),
        ("exp", json!("tomorrow"), "Malformed"),
        ("exp", json!(-1), "Malformed"),
        ("nbf", json!(NOW.0 / 1000 + 60), "Early"),
        ("iat", json!(NOW.0 / 1000 + 60), "Early"),
        ("role", json!("administrator"), "User"),
        ("jti", json!(7), "Malformed"),
    ];
    for (claim, value, expected) in gone.into_iter().chain(odd) {
        let spoilt = signed(&header, &change(&claims, claim, value.clone()));
        assert_eq!(verdict(&centre.identity, &spoilt, NOW), expected, "{claim}: {value}");
    }
}

#[test]
fn a_header_of_another_type_or_key_is_refused() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    let cases = [
        ("typ", Value::Null, "Type"),
        ("typ", json!("JWT"), "Type"),
        ("typ", json!("dpop+jwt"), "Type"),
        ("kid", Value::Null, "Key"),
        ("kid", json!("another"), "Key"),
        ("kid", json!("../../etc/passwd"), "Key"),
        ("alg", Value::Null, "Malformed"),
        ("alg", json!("none"), "Malformed"),
        ("alg", json!("RS256"), "Algorithm"),
        ("alg", json!("HS256"), "Algorithm"),
    ];
    for (member, value, expected) in cases {
        let spoilt = signed(&change(&header, member, value.clone()), &claims);
        assert_eq!(verdict(&centre.identity, &spoilt, NOW), expected, "{member}: {value}");
    }
}

#[test]
fn a_token_without_a_signature_is_refused_whatever_it_calls_that() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    for alg in ["none", "None", "NONE", ""] {
        let spoilt = token(&change(&header, "alg", json!(alg)), &claims, |_| Vec::new());
        assert_eq!(verdict(&centre.identity, &spoilt, NOW), "Malformed", "{alg}");
    }
    let spoilt = token(&header, &claims, |_| Vec::new());
    assert_eq!(verdict(&centre.identity, &spoilt, NOW), "Signature");
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    let header = change(&header, "alg", json!("HS256"));
    let public = pair(SEED).public_key().as_ref().to_vec();
    let published = centre.identity.jwks(NOW)["keys"][0]["x"].as_str().unwrap().as_bytes().to_vec();
    for secret in [public, published, Vec::new()] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let spoilt = token(&header, &claims, |message| hmac::sign(&key, message).as_ref().to_vec());
        assert_eq!(verdict(&centre.identity, &spoilt, NOW), "Algorithm");
    }
}

#[test]
fn another_key_another_message_and_a_key_in_the_header_are_refused() {
    let centre = Centre::new();
    let [header, claims] = good(&centre);
    let other = |message: &[u8]| pair([8; 32]).sign(message).as_ref().to_vec();
    assert_eq!(verdict(&centre.identity, &token(&header, &claims, other), NOW), "Signature");
    let x = URL_SAFE_NO_PAD.encode(pair([8; 32]).public_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x });
    let header = change(&header, "jwk", jwk);
    assert_eq!(verdict(&centre.identity, &token(&header, &claims, other), NOW), "Signature");
    let good = centre.sign_in("morven", NOW).token;
    let parts: Vec<&str> = good.split('.').collect();
    let longer = encode(&change(&claims, "exp", json!(NOW.0)));
    let altered = format!("{}.{longer}.{}", parts[0], parts[2]);
    assert_eq!(verdict(&centre.identity, &altered, NOW), "Signature");
}

#[test]
fn what_is_no_token_is_refused() {
    let centre = Centre::new();
    let good = centre.sign_in("morven", NOW).token;
    let long = "a".repeat(100_000_000);
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}."),
        format!(" {good}"),
        format!("{good}.{good}"),
        long,
    ];
    for text in texts {
        assert_eq!(verdict(&centre.identity, &text, NOW), "Malformed");
    }
}

#[test]
fn a_token_of_another_centre_is_refused_even_with_the_same_key() {
    let centre = Centre::new();
    let other = Issuer { centre: CentreId::from_array([4; 16]), ..issuer() };
    let other = Identity::open(&centre.path(), other, &Zeroizing::new(SEED), NOW).unwrap();
    assert_eq!(verdict(&other, &centre.sign_in("morven", NOW).token, NOW), "Issuer");
}

#[test]
fn a_disabled_user_and_a_changed_role_end_all_tokens_at_once() {
    let centre = Centre::new();
    centre.create("officer", Role::Auditor).unwrap();
    let [doctor, officer] = ["morven", "officer"].map(|login| centre.sign_in(login, NOW).token);
    centre.identity.disable("morven").unwrap();
    assert_eq!(verdict(&centre.identity, &doctor, NOW), "User");
    assert_eq!(verdict(&centre.identity, &officer, NOW), "good");
    let promote = "UPDATE users SET role = 'administrator' WHERE login = 'officer'";
    centre
        .identity
        .store
        .transact(|transaction| {
            transaction.execute(promote, []).map(drop).map_err(crate::StoreError::from)
        })
        .unwrap();
    assert_eq!(verdict(&centre.identity, &officer, NOW), "User");
}

#[test]
fn signing_out_ends_one_token_for_good() {
    let centre = Centre::new();
    let [one, two] = [NOW, later(1)].map(|now| centre.sign_in("morven", now).token);
    let session = centre.identity.verify(&one, later(2)).unwrap();
    centre.identity.sign_out(&session, later(2)).unwrap();
    centre.identity.sign_out(&session, later(2)).unwrap();
    let centre = centre.reopened(SEED, later(3));
    assert_eq!(verdict(&centre.identity, &one, later(3)), "Revoked");
    assert_eq!(verdict(&centre.identity, &two, later(3)), "good");
}

#[test]
fn revocations_are_forgotten_when_their_tokens_have_expired() {
    let centre = Centre::new();
    let sign_out = |now: Timestamp| {
        let session = centre.identity.verify(&centre.sign_in("morven", now).token, now).unwrap();
        centre.identity.sign_out(&session, now).unwrap();
        let count = "SELECT count(*) FROM revoked";
        centre
            .identity
            .store
            .read(|transaction| transaction.query_row(count, [], |row| row.get::<_, u64>(0)))
            .unwrap()
    };
    assert_eq!(
        [0, ACCESS_LIFE_S - 1, ACCESS_LIFE_S].map(|seconds| sign_out(later(seconds))),
        [1, 2, 2]
    );
}

#[test]
fn the_published_keys_verify_tokens_and_hold_no_secret() {
    let centre = Centre::new();
    let token = centre.sign_in("morven", NOW).token;
    let keys = centre.identity.jwks(NOW);
    let key = &keys["keys"][0];
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(
        key.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["alg", "crv", "kid", "kty", "use", "x"]
    );
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ED25519, public).verify(message.as_bytes(), &signature).unwrap();
}

#[test]
fn a_key_id_is_the_thumbprint_of_rfc_8037() {
    // RFC 8037, appendix A.1 to A.3.
    let seed =
        hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let seed = Zeroizing::new(seed.try_into().unwrap());
    let identity = Identity::open(&folder.path().join("users.db"), issuer(), &seed, NOW).unwrap();
    let key = &identity.jwks(NOW)["keys"][0];
    assert_eq!(key["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(key["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn after_a_rotation_the_old_key_verifies_until_its_tokens_expire() {
    let centre = Centre::new();
    let old = centre.sign_in("morven", NOW).token;
    let centre = centre.reopened([8; 32], later(60)).reopened([8; 32], later(120));
    let new = centre.sign_in("morven", later(120)).token;
    assert_ne!(decode(&old)[0]["kid"], decode(&new)[0]["kid"]);
    let end = 60 + ACCESS_LIFE_S;
    let verdicts = |now: Timestamp| [&old, &new].map(|token| verdict(&centre.identity, token, now));
    let published = |now: Timestamp| centre.identity.jwks(now)["keys"].as_array().unwrap().len();
    assert_eq!(verdicts(later(120)), ["good", "good"]);
    assert_eq!(verdicts(later(end)), ["Key", "good"]);
    assert_eq!([published(later(end - 1)), published(later(end))], [2, 1]);
    let centre = centre.reopened([8; 32], later(end));
    assert_eq!(centre.identity.jwks(NOW)["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_key_that_comes_back_signs_again() {
    let centre = Centre::new();
    let centre = centre.reopened([8; 32], NOW).reopened(SEED, NOW);
    let token = centre.sign_in("morven", later(86_400)).token;
    assert_eq!(verdict(&centre.identity, &token, later(86_400)), "good");
}

#[test]
fn no_altered_token_is_good_and_no_text_brings_the_room_down() {
    let centre = Centre::new();
    let good = centre.sign_in("morven", NOW).token;
    let inputs = (any::<prop::sample::Index>(), any::<char>(), any::<String>());
    proptest!(|((place, sign, text) in inputs)| {
        let mut signs: Vec<char> = good.chars().collect();
        let place = place.index(signs.len());
        signs[place] = sign;
        let altered = String::from_iter(signs);
        prop_assert!(altered == good || matches!(centre.identity.verify(&altered, NOW), Err(error) if !matches!(error, TokenError::Store(_))));
        prop_assert!(centre.identity.verify(&text, NOW).is_err());
    });
}
