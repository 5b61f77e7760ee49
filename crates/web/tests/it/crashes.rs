//! What is begun and not ended is taken up again.

use crate::support::{Network, PASSPHRASE};
use aegle_centre::{Caller, NewLogin};
use std::pin::pin;
use std::time::Duration;
use zeroize::Zeroizing;

/// An enrolment that ends at any of its pauses, as in a crash, neither loses the patient's number
/// nor makes two patients of one.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_was_cut_short_anywhere_is_taken_up() {
    let network = Network::start(&["ZMC"]).await;
    let centre = &network.nodes[0].centre;
    let mut ended = false;
    for pauses in 0..10 {
        let number = network.number("ZMC", pauses);
        let login = || NewLogin {
            login: format!("patient-{pauses}"),
            name: "Some Patient".to_owned(),
            passphrase: Zeroizing::new(PASSPHRASE.to_owned()),
        };
        {
            let mut enrolling = pin!(centre.enrol(&Caller::Administrator, &number, login()));
            for _ in 0..pauses {
                ended |= futures::poll!(&mut enrolling).is_ready();
                if ended {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        let handle = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        let again = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        assert_eq!(handle, again, "after {pauses} pauses");
        if ended {
            break;
        }
    }
    assert!(ended, "every pause was tried");
    network.stop().await;
}
