"""From a folder of person crops (or drawn people) to a report and an exported backbone."""
