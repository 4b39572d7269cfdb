//! The command `metagraph`.

fn main() -> std::process::ExitCode {
    metagraph::cli::main()
}
