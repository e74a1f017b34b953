//! The deployed function. See the library.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    training_launcher::run().await
}
