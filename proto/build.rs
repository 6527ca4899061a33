//! Compiles the .proto files with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use prost::Message as _;

    let descriptors = protox::compile(
        [
            "jeroboam/v1/client.proto",
            "jeroboam/v1/site.proto",
            "jeroboam/v1/files.proto",
        ],
        ["."],
    )?;
    println!("cargo:rerun-if-changed=jeroboam");
    let out_dir = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("jeroboam.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".jeroboam.v1.PutRequest.data")
        .bytes(".jeroboam.v1.GetReply.data")
        .bytes(".jeroboam.v1.TailChunk.data")
        .bytes(".jeroboam.v1.LogsReply.data")
        .compile_fds(descriptors)?;
    Ok(())
}
