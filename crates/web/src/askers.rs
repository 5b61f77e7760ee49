//! How often one person may ask for records: of one patient, and of all.
//!
//! Every request that is well made stands in the patient's log for ever, so that a careless program or a
//! stolen token could fill it. What counts is who asks and the handle as it was written, before it is
//! looked whether there is such a patient: whoever is turned away learns nothing. Emergencies count by
//! themselves, so that nothing else uses up what they may need.

use crate::problem::{Answer, Problem};
use aegle_access::Purpose;
use aegle_centre::{Ask, Caller, Whose};
use aegle_model::{Name, PatientId};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

/// How often something may be done: at once, and then once more every so often.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// How often at once.
    pub burst: NonZeroU32,
    /// After how long once more; not zero.
    pub every: Duration,
}

impl Rate {
    /// As many a second, and as many at once.
    pub fn per_second(rate: NonZeroU32) -> Self {
        let every = (Duration::from_secs(1) / rate.get()).max(Duration::from_nanos(1));
        Self { burst: rate, every }
    }

    fn quota(self) -> Quota {
        Quota::with_period(self.every).expect("a rate's period is not zero").allow_burst(self.burst)
    }
}

/// The most of each kind that are remembered between two cleanings.
const REMEMBERED: usize = 50_000;

/// Who asks, and whether in an emergency.
type Asker = (Who, bool);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Patient(PatientId),
    Professional(Name),
}

/// Who has asked of late.
pub(crate) struct Askers {
    of_one: DefaultKeyedRateLimiter<(Asker, Whose)>,
    of_all: DefaultKeyedRateLimiter<Asker>,
}

impl Askers {
    /// None yet; with these rates for the record of one patient, and for all records.
    pub(crate) fn new(of_one: Rate, of_all: Rate) -> Self {
        Self {
            of_one: RateLimiter::keyed(of_one.quota()),
            of_all: RateLimiter::keyed(of_all.quota()),
        }
    }

    /// Counts a request for a record. Callers who may ask for none do not count.
    pub(crate) fn count(&self, caller: &Caller, ask: &Ask) -> Answer<()> {
        let who = match caller {
            Caller::Patient(patient) => Who::Patient(*patient),
            Caller::Professional { id, .. } => Who::Professional(id.clone()),
            Caller::Administrator | Caller::Auditor => return Ok(()),
        };
        let asker = (who, ask.purpose == Purpose::Emergency);
        // All first: it bounds how many handles of one person are remembered.
        check(&self.of_all, &asker)?;
        check(&self.of_one, &(asker, ask.whose))
    }
}

fn check<K: Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Answer<()> {
    if limiter.len() > REMEMBERED {
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        let detail = "you have asked for records too often; wait a little";
        Problem::too_many(wait.as_secs() + 1, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_model::Handle;

    fn ask(handle: Option<u8>, purpose: Purpose) -> Ask {
        let handle = handle.map(|byte| Handle::from(PatientId::from_array([byte; 16])));
        let whose = handle.map_or(Whose::Own, Whose::Handle);
        Ask { whose, purpose, reason: None, wishes: Vec::new(), recipient: [4; 65] }
    }

    fn doctor(id: &str) -> Caller {
        Caller::Professional { id: Name::new(id).unwrap(), departments: Vec::new() }
    }

    fn rate(burst: u32) -> Rate {
        Rate { burst: NonZeroU32::new(burst).unwrap(), every: Duration::from_hours(1) }
    }

    #[test]
    fn everybody_has_a_share_of_every_patient_and_emergencies_one_of_their_own() {
        let askers = Askers::new(rate(2), rate(100));
        let may =
            |caller: &Caller, handle, purpose| askers.count(caller, &ask(handle, purpose)).is_ok();
        let (one, other) = (doctor("1"), doctor("2"));
        for _ in 0..2 {
            assert!(may(&one, Some(1), Purpose::Treatment));
        }
        assert!(!may(&one, Some(1), Purpose::Treatment));
        assert!(!may(&one, Some(1), Purpose::Research), "the purpose makes no difference");
        assert!(may(&one, Some(1), Purpose::Emergency), "but danger does");
        assert!(may(&one, Some(2), Purpose::Treatment), "another patient");
        assert!(may(&other, Some(1), Purpose::Treatment), "another person");
        let moved = Caller::Professional {
            id: Name::new("1").unwrap(),
            departments: vec![Name::new("9").unwrap()],
        };
        assert!(!may(&moved, Some(1), Purpose::Treatment), "whatever the department");
        let patient = Caller::Patient(PatientId::from_array([1; 16]));
        assert!(may(&patient, None, Purpose::Treatment), "the own record");
    }

    #[test]
    fn guessing_handles_is_bounded() {
        let askers = Askers::new(rate(2), rate(5));
        let caller = doctor("1");
        let counted = (0..9).filter(|handle| {
            askers.count(&caller, &ask(Some(*handle), Purpose::Treatment)).is_ok()
        });
        assert_eq!(counted.count(), 5);
        assert_eq!(askers.of_one.len(), 5, "what was turned away is not remembered");
    }

    #[test]
    fn a_rate_of_any_size_has_a_period() {
        for rate in [1, 7, 10_000, u32::MAX] {
            Rate::per_second(NonZeroU32::new(rate).unwrap()).quota();
        }
    }
}
