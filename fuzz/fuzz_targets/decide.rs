//! Questions to `aegle decide`.
#![no_main]

use aegle_model::RecordKey;

#[path = "../../crates/node/src/decide/mod.rs"]
#[expect(dead_code, reason = "the command line around the answer is not called here")]
mod decide;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let ask = |explain, key| decide::answer(text, explain, &RecordKey::from_array(key));
    if let (Ok(one), Ok(other)) = (ask(true, [1; 32]), ask(true, [2; 32])) {
        assert_eq!(one, other, "the answer depends on the key");
        let answer: serde_json::Value = serde_json::from_str(&one).expect("the answer is JSON");
        let permits = answer["decision"] == "permit";
        assert_eq!(
            permits,
            answer["granted"].as_object().is_some_and(|granted| !granted.is_empty())
        );
    }
});
