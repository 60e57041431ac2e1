//! Compiles the protos with protox, which needs no installed protoc, and writes the descriptor set for
//! proto3 JSON. `proto/tara` is a link to the API in the repository, and a copy in the published package.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "tara/export/v1/service.proto",
        "tara/export/v1/automation.proto",
        "grpc/health/v1/health.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("tara.export.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(false)
        // `Bytes` fields are passed on without a copy.
        .bytes(".tara.export.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
