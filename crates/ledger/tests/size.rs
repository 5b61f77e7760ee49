//! How many bytes the receipt of a disclosure has.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod disclosure;

use aegle_ledger::Body;
use aegle_model::{Canonical, Hash};
use disclosure::Shape;

/// Bytes of the receipt in a block of 64 transactions, and bytes of the question in it.
fn measure(shape: Shape) -> (usize, usize) {
    let (genesis, receipt) = disclosure::receipt(shape, 64);
    receipt.clone().verify(&genesis).unwrap();
    let Body::Disclose(disclose) = receipt.transaction.body() else { unreachable!() };
    (receipt.to_bytes().len(), borsh::to_vec(&disclose.question).unwrap().len())
}

#[test]
fn twelve_tags_and_twenty_five_cells_at_two_centres_fit_two_kilobytes_in_any_block() {
    let (bytes, _) = measure(Shape { tags: [6, 6], cells: [13, 12] });
    // A block of 1 MiB holds fewer than 2^13 transactions; each doubling beyond 2^6 costs a hash.
    let longest = bytes + 7 * size_of::<Hash>();
    assert!(longest <= 2_048, "{bytes} bytes, {longest} in the fullest block");
}

#[test]
fn as_much_at_each_centre_takes_a_question_of_its_size_more() {
    let (few, small) = measure(Shape { tags: [6, 6], cells: [13, 12] });
    let (many, large) = measure(Shape { tags: [12, 12], cells: [25, 25] });
    assert!(many <= 2_560, "{many} bytes");
    // Tokens of tags and the tags of cells, and the cells' places in the decision.
    assert!((large - small..large - small + 8).contains(&(many - few)), "{few}, {many}");
}
