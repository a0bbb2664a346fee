//! Every field of every message of TotalView-ITCH 5.0 as the crate itch5 reads it, added up.

use std::ops::ControlFlow;

use itch5::messages as rival;
use itch5::{MessageHandler, Parser};

use crate::sum::{Sum, add};

/// Adds messages, each behind its length, as itch5 reads them.
pub(crate) fn add_messages(sum: &mut Sum, framed: &[u8]) {
    let all = Parser::new(framed).parse_stream(sum);
    assert!(all.is_ok());
}

macro_rules! unknown {
    ($code:expr, $type:ident) => {
        matches!($code, rival::$type::Unknown { .. })
    };
}

/// Four bytes of a participant's name.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl MessageHandler for Sum {
    #[inline]
    fn on_system_event(&mut self, m: &rival::SystemEvent) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64()
            ],
            [unknown!(m.event_code(), SystemEventCode)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_stock_directory(&mut self, m: &rival::StockDirectory) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.round_lot_size(),
                m.etp_leverage_factor()
            ],
            [
                unknown!(m.market_category(), MarketCategory),
                unknown!(m.financial_status_indicator(), FinancialStatusIndicator),
                unknown!(m.round_lots_only(), RoundLotsOnly),
                unknown!(m.issue_classification(), IssueClassificationCode),
                unknown!(m.issue_sub_type(), IssueSubTypeCode),
                unknown!(m.authenticity(), Authenticity),
                unknown!(
                    m.short_sale_threshold_indicator(),
                    ShortSaleThresholdIndicator
                ),
                unknown!(m.ipo_flag(), IpoFlag),
                unknown!(m.luld_reference_price_tier(), LuldReferencePriceTier),
                unknown!(m.etp_flag(), EtpFlag),
                unknown!(m.inverse_indicator(), InverseIndicator)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_stock_trading_action(&mut self, m: &rival::StockTradingAction) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.reserved()
            ],
            [
                unknown!(m.trading_state(), TradingState),
                unknown!(m.reason(), TradingActionReason)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_reg_sho_restriction(&mut self, m: &rival::RegSHORestriction) -> ControlFlow<()> {
        add!(
            self,
            [
                m.locate_code(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [unknown!(m.reg_sho_action(), RegShoAction)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_market_participant_position(
        &mut self,
        m: &rival::MarketParticipantPosition,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                word(m.mpid()),
                m.stock().to_u64()
            ],
            [
                unknown!(m.primary_market_maker(), PrimaryMarketMaker),
                unknown!(m.market_maker_mode(), MarketMakerMode),
                unknown!(m.market_participant_state(), MarketParticipantState)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_mwcb_decline_level(&mut self, m: &rival::MWCBDeclineLevel) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.level_1().into_u64(),
                m.level_2().into_u64(),
                m.level_3().into_u64()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_mwcb_status(&mut self, m: &rival::MWCBStatus) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64()
            ],
            [unknown!(m.breached_level(), BreachedLevel)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_quoting_period_update(&mut self, m: &rival::QuotingPeriodUpdate) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.ipo_quotation_release_time(),
                m.ipo_price().into_u32()
            ],
            [unknown!(
                m.ipo_quotation_release_qualifier(),
                IpoQuotationReleaseQualifier
            )]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_luld_auction_collar(&mut self, m: &rival::LULDAuctionCollar) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.auction_collar_reference_price().into_u32(),
                m.upper_auction_collar_price().into_u32(),
                m.lower_auction_collar_price().into_u32(),
                m.auction_collar_extension().into_u32()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_operational_halt(&mut self, m: &rival::OperationalHalt) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [
                unknown!(m.market_code(), MarketCode),
                unknown!(m.operational_halt_action(), OperationalHaltAction)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_add_order_no_mpid_attribution(
        &mut self,
        m: &rival::AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32()
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_add_order_with_mpid_attribution(
        &mut self,
        m: &rival::AddOrderWithMPIDAttribution,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32(),
                word(m.attribution())
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_executed(&mut self, m: &rival::OrderExecuted) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.executed_shares(),
                m.match_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_executed_with_price(
        &mut self,
        m: &rival::OrderExecutedWithPrice,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.executed_shares(),
                m.match_number(),
                m.execution_price().into_u32()
            ],
            [unknown!(m.printable(), Printable)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_cancel(&mut self, m: &rival::OrderCancel) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.cancelled_shares()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_delete(&mut self, m: &rival::OrderDelete) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_order_replace(&mut self, m: &rival::OrderReplace) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.original_order_reference_number(),
                m.new_order_reference_number(),
                m.shares(),
                m.price().into_u32()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_trade(&mut self, m: &rival::Trade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.order_reference_number(),
                m.shares(),
                m.stock().to_u64(),
                m.price().into_u32(),
                m.match_number()
            ],
            [unknown!(m.buy_sell_indicator(), BuySellIndicator)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_cross_trade(&mut self, m: &rival::CrossTrade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.shares(),
                m.stock().to_u64(),
                m.cross_price().into_u32(),
                m.match_number()
            ],
            [unknown!(m.cross_type(), CrossType)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_broken_trade(&mut self, m: &rival::BrokenTrade) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.match_number()
            ],
            []
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_net_order_imbalance_indicator(
        &mut self,
        m: &rival::NetOrderImbalanceIndicator,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.paired_shares(),
                m.imbalance_shares(),
                m.stock().to_u64(),
                m.far_price().into_u32(),
                m.near_price().into_u32(),
                m.current_reference_price().into_u32()
            ],
            [
                unknown!(m.imbalance_direction(), ImbalanceDirection),
                unknown!(m.cross_type(), CrossType),
                unknown!(m.price_variation_indicator(), PriceVariationIndicator)
            ]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_retail_price_improvement_indicator(
        &mut self,
        m: &rival::RetailPriceImprovementIndicator,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64()
            ],
            [unknown!(m.interest_flag(), InterestFlag)]
        );
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_direct_listing_with_capital_raise_price_discovery(
        &mut self,
        m: &rival::DirectListingwithCapitalRaisePriceDiscovery,
    ) -> ControlFlow<()> {
        add!(
            self,
            [
                m.stock_locate(),
                m.tracking_number(),
                m.timestamp().to_u64(),
                m.stock().to_u64(),
                m.minimum_allowable_price().into_u32(),
                m.maximum_allowable_price().into_u32(),
                m.near_execution_price().into_u32(),
                m.near_execution_time(),
                m.lower_price_range_collar().into_u32(),
                m.upper_price_range_collar().into_u32()
            ],
            [unknown!(m.open_eligibility_status(), OpenEligibilityStatus)]
        );
        ControlFlow::Continue(())
    }
}
