//! The cost of checking one receipt: a disclosure with 3 subjects, 12 tags and 25 cells at two
//! centres, in a block of 64 transactions, under the votes of three of four validators.

#[path = "../tests/disclosure/mod.rs"]
mod disclosure;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use disclosure::Shape;

fn bench(criterion: &mut Criterion) {
    let shape = Shape { tags: [6, 6], cells: [13, 12] };
    let (genesis, receipt) = disclosure::receipt(shape, 64);
    criterion.bench_function("ledger::Receipt::verify/validators=4", |bencher| {
        bencher.iter_batched(
            || receipt.clone(),
            |receipt| receipt.verify(&genesis).expect("it holds"),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
