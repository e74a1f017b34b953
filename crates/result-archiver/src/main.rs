//! The function `result-archiver`. All of it is in the library.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    result_archiver::run().await
}
