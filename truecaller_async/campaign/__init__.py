"""Run a campaign: read records from a source, send them in batches, return one result per record.

Purpose:
    `campaign.core` contains the decisions, without I/O and clock. The modules of this folder carry them out.
    `campaign.stream.CampaignStream` is the object the caller uses. This module imports nothing, because the ports use
    `campaign.core`.
"""
