//! The deployed function. See the library.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    dataset_extractor::run().await
}
