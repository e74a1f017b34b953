//! Serves the warehouse of a folder at a port: `serve FOLDER PORT`.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "warehouse".to_owned());
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let warehouse = local_warehouse::Warehouse::open(local_warehouse::Options::new(folder))?;
    let server = warehouse.serve(tokio::net::TcpListener::bind(("127.0.0.1", port)).await?)?;
    println!("{}", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
