//! Two readings of a message of TotalView-ITCH 5.0, field by field in the order of the specification: as
//! hopline gives it, and as the crate itch5 does. A code is compared as what itch5 makes of its byte.

use std::ops::ControlFlow;

use hopline::feed::itch::Message;
use itch5::messages as rival;
use itch5::{MessageHandler, Parser};

/// As hopline gives it.
pub(crate) fn ours(message: &Message<'_>) -> Vec<String> {
    macro_rules! say {
        ($m:ident, $head:expr $(, $value:expr)*) => {
            vec![
                $head.locate.get().to_string(),
                $head.tracking.get().to_string(),
                $head.timestamp.get().to_string(),
                $(format!("{:?}", $value)),*
            ]
        };
    }
    match message {
        Message::SystemEvent(m) => say!(m, m.head, rival::SystemEventCode::from_byte(m.event)),
        Message::StockDirectory(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::MarketCategory::from_byte(m.market_category),
            rival::FinancialStatusIndicator::from_byte(m.financial_status),
            m.round_lot_size.get(),
            rival::RoundLotsOnly::from_byte(m.round_lots_only),
            rival::IssueClassificationCode::from_byte(m.issue_classification),
            rival::IssueSubTypeCode::from_bytes(m.issue_sub_type),
            authenticity(&rival::Authenticity::from_byte(m.authenticity)),
            rival::ShortSaleThresholdIndicator::from_byte(m.short_sale_threshold),
            rival::IpoFlag::from_byte(m.ipo_flag),
            rival::LuldReferencePriceTier::from_byte(m.luld_tier),
            rival::EtpFlag::from_byte(m.etp_flag),
            m.etp_leverage.get(),
            rival::InverseIndicator::from_byte(m.inverse)
        ),
        Message::TradingAction(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::TradingState::from_byte(m.state),
            m.reserved,
            reason(m.state, m.reason)
        ),
        Message::RegSho(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::RegShoAction::from_byte(m.action)
        ),
        Message::ParticipantPosition(m) => say!(
            m,
            m.head,
            m.mpid,
            u64::from_be_bytes(m.stock.0),
            rival::PrimaryMarketMaker::from_byte(m.primary),
            mode(&rival::MarketMakerMode::from_byte(m.mode)),
            rival::MarketParticipantState::from_byte(m.state)
        ),
        Message::MwcbLevels(m) => say!(
            m,
            m.head,
            m.level_1.units(),
            m.level_2.units(),
            m.level_3.units()
        ),
        Message::MwcbStatus(m) => say!(m, m.head, rival::BreachedLevel::from_byte(m.breached)),
        Message::QuotingPeriod(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            m.release_s.get(),
            rival::IpoQuotationReleaseQualifier::from_byte(m.qualifier),
            m.price.units()
        ),
        Message::AuctionCollar(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            m.reference.units(),
            m.upper.units(),
            m.lower.units(),
            m.extension.get()
        ),
        Message::OperationalHalt(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::MarketCode::from_byte(m.market),
            rival::OperationalHaltAction::from_byte(m.action)
        ),
        Message::AddOrder(m) => say!(
            m,
            m.head,
            m.reference.get(),
            rival::BuySellIndicator::from_byte(m.side),
            m.shares.get(),
            u64::from_be_bytes(m.stock.0),
            m.price.units()
        ),
        Message::AddOrderMpid(m) => say!(
            m,
            m.add.head,
            m.add.reference.get(),
            rival::BuySellIndicator::from_byte(m.add.side),
            m.add.shares.get(),
            u64::from_be_bytes(m.add.stock.0),
            m.add.price.units(),
            m.attribution
        ),
        Message::OrderExecuted(m) => say!(
            m,
            m.head,
            m.reference.get(),
            m.shares.get(),
            m.match_number.get()
        ),
        Message::OrderExecutedPrice(m) => say!(
            m,
            m.head,
            m.reference.get(),
            m.shares.get(),
            m.match_number.get(),
            rival::Printable::from_byte(m.printable),
            m.price.units()
        ),
        Message::OrderCancel(m) => say!(m, m.head, m.reference.get(), m.shares.get()),
        Message::OrderDelete(m) => say!(m, m.head, m.reference.get()),
        Message::OrderReplace(m) => say!(
            m,
            m.head,
            m.reference.get(),
            m.new_reference.get(),
            m.shares.get(),
            m.price.units()
        ),
        Message::Trade(m) => say!(
            m,
            m.head,
            m.reference.get(),
            rival::BuySellIndicator::from_byte(m.side),
            m.shares.get(),
            u64::from_be_bytes(m.stock.0),
            m.price.units(),
            m.match_number.get()
        ),
        Message::CrossTrade(m) => say!(
            m,
            m.head,
            m.shares.get(),
            u64::from_be_bytes(m.stock.0),
            m.price.units(),
            m.match_number.get(),
            rival::CrossType::from_byte(m.cross_type)
        ),
        Message::BrokenTrade(m) => say!(m, m.head, m.match_number.get()),
        Message::Imbalance(m) => say!(
            m,
            m.head,
            m.paired.get(),
            m.imbalance.get(),
            rival::ImbalanceDirection::from_byte(m.direction),
            u64::from_be_bytes(m.stock.0),
            m.far.units(),
            m.near.units(),
            m.reference.units(),
            rival::CrossType::from_byte(m.cross_type),
            rival::PriceVariationIndicator::from_byte(m.variation)
        ),
        Message::RetailInterest(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::InterestFlag::from_byte(m.interest)
        ),
        Message::DirectListing(m) => say!(
            m,
            m.head,
            u64::from_be_bytes(m.stock.0),
            rival::OpenEligibilityStatus::from_byte(m.open_eligibility),
            m.minimum.units(),
            m.maximum.units(),
            m.near.units(),
            m.near_time.get(),
            m.lower.units(),
            m.upper.units()
        ),
    }
}

/// What itch5 makes of a reason, which depends on the state beside it.
fn reason(state: u8, bytes: [u8; 4]) -> rival::TradingActionReason {
    use rival::{TradingActionReason as Reason, TradingHaltReason, TradingResumptionReason};
    match state {
        b'H' => Reason::Halted(TradingHaltReason::from_bytes(&bytes)),
        b'P' => Reason::Paused(TradingHaltReason::from_bytes(&bytes)),
        b'Q' => Reason::QuotationOnly(TradingResumptionReason::from_bytes(&bytes)),
        b'T' => Reason::Trading(TradingResumptionReason::from_bytes(&bytes)),
        _ => Reason::Unknown {
            state,
            reason_bytes: bytes,
        },
    }
}

/// Two of itch5's codes that cannot say themselves.
fn authenticity(code: &rival::Authenticity) -> u8 {
    match code {
        rival::Authenticity::LiveProduction => b'P',
        rival::Authenticity::Test => b'T',
        rival::Authenticity::Unknown(byte) => *byte,
    }
}

fn mode(code: &rival::MarketMakerMode) -> u8 {
    match code {
        rival::MarketMakerMode::Normal => b'N',
        rival::MarketMakerMode::Passive => b'P',
        rival::MarketMakerMode::Syndicate => b'S',
        rival::MarketMakerMode::PreSyndicate => b'R',
        rival::MarketMakerMode::Penalty => b'L',
        rival::MarketMakerMode::Unknown(byte) => *byte,
    }
}

/// As itch5 gives it.
pub(crate) fn theirs(bytes: &[u8]) -> Vec<String> {
    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    let mut said = Said(Vec::new());
    Parser::new(&framed).parse_stream(&mut said).unwrap();
    said.0
}

struct Said(Vec<String>);

macro_rules! say {
    ($said:ident, $m:ident, $locate:expr $(, $value:expr)*) => {{
        $said.0 = vec![
            $locate.to_string(),
            $m.tracking_number().to_string(),
            $m.timestamp().to_u64().to_string(),
            $(format!("{:?}", $value)),*
        ];
        ControlFlow::Continue(())
    }};
}

impl MessageHandler for Said {
    fn on_system_event(&mut self, m: &rival::SystemEvent) -> ControlFlow<()> {
        say!(self, m, m.stock_locate(), m.event_code())
    }
    fn on_stock_directory(&mut self, m: &rival::StockDirectory) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.market_category(),
            m.financial_status_indicator(),
            m.round_lot_size(),
            m.round_lots_only(),
            m.issue_classification(),
            m.issue_sub_type(),
            authenticity(&m.authenticity()),
            m.short_sale_threshold_indicator(),
            m.ipo_flag(),
            m.luld_reference_price_tier(),
            m.etp_flag(),
            m.etp_leverage_factor(),
            m.inverse_indicator()
        )
    }
    fn on_stock_trading_action(&mut self, m: &rival::StockTradingAction) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.trading_state(),
            m.reserved(),
            m.reason()
        )
    }
    fn on_reg_sho_restriction(&mut self, m: &rival::RegSHORestriction) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.locate_code(),
            m.stock().to_u64(),
            m.reg_sho_action()
        )
    }
    fn on_market_participant_position(
        &mut self,
        m: &rival::MarketParticipantPosition,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.mpid(),
            m.stock().to_u64(),
            m.primary_market_maker(),
            mode(&m.market_maker_mode()),
            m.market_participant_state()
        )
    }
    fn on_mwcb_decline_level(&mut self, m: &rival::MWCBDeclineLevel) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.level_1().into_u64(),
            m.level_2().into_u64(),
            m.level_3().into_u64()
        )
    }
    fn on_mwcb_status(&mut self, m: &rival::MWCBStatus) -> ControlFlow<()> {
        say!(self, m, m.stock_locate(), m.breached_level())
    }
    fn on_quoting_period_update(&mut self, m: &rival::QuotingPeriodUpdate) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.ipo_quotation_release_time(),
            m.ipo_quotation_release_qualifier(),
            m.ipo_price().into_u32()
        )
    }
    fn on_luld_auction_collar(&mut self, m: &rival::LULDAuctionCollar) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.auction_collar_reference_price().into_u32(),
            m.upper_auction_collar_price().into_u32(),
            m.lower_auction_collar_price().into_u32(),
            m.auction_collar_extension().into_u32()
        )
    }
    fn on_operational_halt(&mut self, m: &rival::OperationalHalt) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.market_code(),
            m.operational_halt_action()
        )
    }
    fn on_add_order_no_mpid_attribution(
        &mut self,
        m: &rival::AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.buy_sell_indicator(),
            m.shares(),
            m.stock().to_u64(),
            m.price().into_u32()
        )
    }
    fn on_add_order_with_mpid_attribution(
        &mut self,
        m: &rival::AddOrderWithMPIDAttribution,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.buy_sell_indicator(),
            m.shares(),
            m.stock().to_u64(),
            m.price().into_u32(),
            m.attribution()
        )
    }
    fn on_order_executed(&mut self, m: &rival::OrderExecuted) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.executed_shares(),
            m.match_number()
        )
    }
    fn on_order_executed_with_price(
        &mut self,
        m: &rival::OrderExecutedWithPrice,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.executed_shares(),
            m.match_number(),
            m.printable(),
            m.execution_price().into_u32()
        )
    }
    fn on_order_cancel(&mut self, m: &rival::OrderCancel) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.cancelled_shares()
        )
    }
    fn on_order_delete(&mut self, m: &rival::OrderDelete) -> ControlFlow<()> {
        say!(self, m, m.stock_locate(), m.order_reference_number())
    }
    fn on_order_replace(&mut self, m: &rival::OrderReplace) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.original_order_reference_number(),
            m.new_order_reference_number(),
            m.shares(),
            m.price().into_u32()
        )
    }
    fn on_trade(&mut self, m: &rival::Trade) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.order_reference_number(),
            m.buy_sell_indicator(),
            m.shares(),
            m.stock().to_u64(),
            m.price().into_u32(),
            m.match_number()
        )
    }
    fn on_cross_trade(&mut self, m: &rival::CrossTrade) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.shares(),
            m.stock().to_u64(),
            m.cross_price().into_u32(),
            m.match_number(),
            m.cross_type()
        )
    }
    fn on_broken_trade(&mut self, m: &rival::BrokenTrade) -> ControlFlow<()> {
        say!(self, m, m.stock_locate(), m.match_number())
    }
    fn on_net_order_imbalance_indicator(
        &mut self,
        m: &rival::NetOrderImbalanceIndicator,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.paired_shares(),
            m.imbalance_shares(),
            m.imbalance_direction(),
            m.stock().to_u64(),
            m.far_price().into_u32(),
            m.near_price().into_u32(),
            m.current_reference_price().into_u32(),
            m.cross_type(),
            m.price_variation_indicator()
        )
    }
    fn on_retail_price_improvement_indicator(
        &mut self,
        m: &rival::RetailPriceImprovementIndicator,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.interest_flag()
        )
    }
    fn on_direct_listing_with_capital_raise_price_discovery(
        &mut self,
        m: &rival::DirectListingwithCapitalRaisePriceDiscovery,
    ) -> ControlFlow<()> {
        say!(
            self,
            m,
            m.stock_locate(),
            m.stock().to_u64(),
            m.open_eligibility_status(),
            m.minimum_allowable_price().into_u32(),
            m.maximum_allowable_price().into_u32(),
            m.near_execution_price().into_u32(),
            m.near_execution_time(),
            m.lower_price_range_collar().into_u32(),
            m.upper_price_range_collar().into_u32()
        )
    }
}
