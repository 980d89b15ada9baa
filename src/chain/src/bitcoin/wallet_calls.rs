//! Wallet calls: what a node's own wallets do. Those of one wallet are asked of
//! [`BitcoinRpc::wallet`].

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    amount::Amount,
    chain_calls::unless,
    client::BitcoinRpc,
    reply::code,
    shapes::TxHash,
    wallet_shapes::{Balances, SignedRaw, Unspent, WalletOpened, WalletTransaction},
};
use crate::{
    error::SourceError,
    id::{OutputId, TxId},
};

/// How much longer the answer of a wallet that opens may take: it makes thousands of keys, or
/// looks through the blocks that came without it.
const WALLET_OPENS_WITHIN: Duration = Duration::from_mins(1);

impl BitcoinRpc {
    /// Makes a wallet and loads it. The answer asks it.
    pub async fn create_wallet(&self, name: &str) -> Result<Self, SourceError> {
        self.wallet_opened("createwallet", name).await
    }

    /// Loads a wallet that there is, as is needed after each start of the node. The answer asks
    /// it.
    pub async fn load_wallet(&self, name: &str) -> Result<Self, SourceError> {
        self.wallet_opened("loadwallet", name).await
    }

    async fn wallet_opened(&self, method: &str, name: &str) -> Result<Self, SourceError> {
        let within = self.limits().within + WALLET_OPENS_WITHIN;
        let opened: WalletOpened = self.call_within(within, method, json!([name])).await?;
        Ok(self.wallet(opened.name))
    }

    /// The wallets that are loaded.
    pub async fn wallets(&self) -> Result<Vec<String>, SourceError> {
        self.call("listwallets", json!([])).await
    }

    /// The wallet with this name: loaded already, or loaded now, or made now.
    pub async fn open_wallet(&self, name: &str) -> Result<Self, SourceError> {
        if self.wallets().await?.iter().any(|loaded| loaded == name) {
            return Ok(self.wallet(name));
        }
        let loaded = self.load_wallet(name).await;
        match unless(code::WALLET_NOT_FOUND, loaded)? {
            Some(wallet) => Ok(wallet),
            None => self.create_wallet(name).await,
        }
    }

    /// A new address of this wallet.
    pub async fn new_address(&self) -> Result<String, SourceError> {
        self.call("getnewaddress", json!([])).await
    }

    /// Pays `amount` to `address`.
    pub async fn send_to_address(
        &self,
        address: &str,
        amount: Amount,
    ) -> Result<TxId, SourceError> {
        let sent = self.call("sendtoaddress", json!([address, amount]));
        sent.await.map(|TxHash(id)| id)
    }

    /// What this wallet has.
    pub async fn balances(&self) -> Result<Balances, SourceError> {
        self.call("getbalances", json!([])).await
    }

    /// The outputs of this wallet with at least `confirmations_min` confirmations; with 0, those
    /// that wait too.
    pub async fn list_unspent(&self, confirmations_min: u32) -> Result<Vec<Unspent>, SourceError> {
        self.call("listunspent", json!([confirmations_min])).await
    }

    /// A transaction of this wallet's, `None` where it has no part in it.
    pub async fn wallet_transaction(
        &self,
        id: TxId,
    ) -> Result<Option<WalletTransaction>, SourceError> {
        let found = self.call("gettransaction", json!([id.to_string()]));
        unless(code::NOT_FOUND, found.await)
    }

    /// A transaction that spends `inputs` and pays `outputs`, signed by this wallet and not handed
    /// in. What the inputs have and the outputs do not is the fee.
    pub async fn sign_payment(
        &self,
        inputs: &[(TxId, u32)],
        outputs: &[(&str, Amount)],
    ) -> Result<SignedRaw, SourceError> {
        let spent = inputs.iter();
        let spent = spent.map(|(txid, vout)| json!({"txid": txid.to_string(), "vout": vout}));
        let paid = outputs.iter().map(|(to, amount)| json!({*to: amount}));
        let params = json!([spent.collect::<Value>(), paid.collect::<Value>()]);
        let unsigned: String = self.call("createrawtransaction", params).await?;
        self.call("signrawtransactionwithwallet", json!([unsigned]))
            .await
    }
}

/// What a later transaction names when it spends the output `index` of `txid`.
pub fn output_id(txid: TxId, index: u32) -> OutputId {
    format!("{txid}:{index}").into()
}
