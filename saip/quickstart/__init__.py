"""From a folder of person crops (or synthetic persons) to a report and an exported backbone."""
