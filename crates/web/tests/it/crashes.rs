//! What is begun and not ended is taken up again.

use crate::support::{Network, PASSPHRASE};
use aegle_centre::{Caller, NewLogin};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use zeroize::Zeroizing;

/// An enrolment that ends at any of its pauses, as in a crash, neither loses the patient's number
/// nor makes two patients of one.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_was_cut_short_anywhere_is_taken_up() {
    let network = Network::start(&["ZMC"]).await;
    let centre = &network.nodes[0].centre;
    for pauses in 0.. {
        let number = network.number("ZMC", pauses);
        let login = || NewLogin {
            login: format!("patient-{pauses}"),
            name: "Some Patient".to_owned(),
            passphrase: Zeroizing::new(PASSPHRASE.to_owned()),
        };
        let ended = {
            let mut enrolling = pin!(centre.enrol(&Caller::Administrator, &number, login()));
            let mut left = pauses;
            // It is only asked again when it can go on, so this counts its own pauses.
            poll_fn(|context| match enrolling.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        };
        let handle = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        let again = centre.enrol(&Caller::Administrator, &number, login()).await.unwrap();
        assert_eq!(handle, again, "after {pauses} pauses");
        if ended {
            break;
        }
    }
    network.stop().await;
}
