Feature: Without a majority nothing is decided

  Scenario: Writes are refused while a majority is stopped, and resume after its restart
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds
    And I write 10 keys
    When I stop a majority of the nodes
    Then no leader is agreed on within 10 seconds
    And writes are refused within 15 seconds
    When I start the stopped nodes
    Then the nodes agree on a leader within 15 seconds
    And writes are accepted within 15 seconds
    And no acknowledged write is lost
