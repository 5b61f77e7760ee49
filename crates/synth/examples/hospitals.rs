//! Writes four hospitals: `cargo run -p aegle-synth --example hospitals -- <folder> <seed> <patients>`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seed, patients] = arguments.as_slice() else {
        return Err("give a folder, a seed and a number of patients".into());
    };
    let network = aegle_synth::generate(folder.as_ref(), seed.parse()?, patients.parse()?)?;
    for centre in &network.centres {
        println!("{}: {} patients, {} rows", centre.code, centre.patients.len(), centre.rows);
    }
    println!("{} people are patients of two centres", network.shared.len());
    Ok(())
}
