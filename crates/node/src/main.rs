//! `aegle`: the one binary of a node and of everybody who works with one.

fn main() -> std::process::ExitCode {
    aegle_node::main()
}
