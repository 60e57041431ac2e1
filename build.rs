//! Compiles the protos with protox, so that no protoc has to be installed, and keeps the descriptor
//! set for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["tara/export/v1/service.proto", "tara/export/v1/automation.proto"],
        ["proto"],
    )?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("tara.export.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        // Document contents are shared with the engine, not copied.
        .bytes(".tara.export.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
